// Matrix products.
#pragma once

#include "graph/map_program.h"
#include "graph/ops/field_types.h"

namespace lathe {

// (a, b, extras..) -> y. Batched product over the last two axes with numpy broadcasting of the leading ones; rank-1
// operands are not allowed (importers reshape). trans_a / trans_b say that the last two axes of that operand are
// swapped. f16 and bf16 accumulate in f32; integers accumulate and give i32 (i8, u8, i16, i32) or their own type.
// `epilogue` (empty: none) maps (product, extras..) to the result; extras broadcast to the product's shape, and the
// program's result type is the type of y.
struct MatMul {
  static constexpr std::string_view kName = "matmul";
  bool trans_a = false;
  bool trans_b = false;
  MapProgram epilogue;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("trans_a", s.trans_a);
    visit("trans_b", s.trans_b);
    visit("epilogue", s.epilogue);
  }
};

}  // namespace lathe
