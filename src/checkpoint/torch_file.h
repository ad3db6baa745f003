// PyTorch's weights file, what torch.save writes of a state_dict: a zip file with a pickle that describes the tensors
// and one member per storage; before version 1.6, pickles and storages one behind the other. Pickles are read, never
// executed (pickle.h); what they name must be one of the few functions and classes that tensors are made of.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "checkpoint/stored_tensor.h"

namespace lathe::checkpoint {

// The tensors of a whole file, whose bytes the results point into; in file order. Throws Error(invalid_model) that
// names the tensor, and Error(unsupported) for objects that are no tensors.
std::vector<StoredTensor> parse_torch_file(std::span<const std::byte> file);

}  // namespace lathe::checkpoint
