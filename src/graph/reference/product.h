// What matmul and the convolutions share: the type of a product, and its epilogue.
#pragma once

#include "graph/reference/families.h"
#include "graph/reference/map.h"

namespace lathe::reference {

// i8, u8, i16 and i32 give i32; f32 takes halves for b; every other type gives itself. Throws Error(invalid_model) on
// operands that do not mix.
DType product_type(const Tensor& a, const Tensor& b);

// Applies `epilogue` (empty: none) to a product and the operands of the call from `first_extra` on.
Tensor apply_epilogue(const MapProgram& epilogue, Tensor product, const Call& call, size_t first_extra = 2);

}  // namespace lathe::reference
