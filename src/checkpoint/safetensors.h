// The safetensors format: an 8-byte length, a JSON header that gives type, shape and place of every tensor, the data.
// Nothing in the header is trusted: places are checked against the file, sizes against types and shapes.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "checkpoint/stored_tensor.h"

namespace lathe::checkpoint {

// The tensors of a whole file, whose bytes the results point into; in the order of their names. Throws
// Error(invalid_model) that names the tensor, Error(unsupported) for an element type that Lathe does not have.
std::vector<StoredTensor> parse_safetensors(std::span<const std::byte> file);

}  // namespace lathe::checkpoint
