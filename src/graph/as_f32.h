// The numbers of a tensor of floats as f32.
#pragma once

#include "graph/tensor.h"

namespace lathe {

// The tensor itself where it holds f32.
Tensor as_f32(const Tensor& source);

}  // namespace lathe
