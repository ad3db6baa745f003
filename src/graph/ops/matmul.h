// Matrix products.
#pragma once

#include "graph/map_program.h"
#include "graph/ops/field_types.h"

namespace lathe {

// (a, b, extras..) -> y. Batched product over the last two axes with numpy broadcasting of the leading ones; rank-1
// operands are not allowed (importers reshape). trans_a / trans_b say that the last two axes of that operand are
// swapped. f16 and bf16 accumulate in f32; integers give i32 (i8, u8, i16, i32) or their own type, f8e4m3 gives f32.
// An f32 a may meet a b of f16 or bf16, weights that are stored in 16 bits: b is widened and the product is f32. With a
// b of bf16 a kernel may round a to bf16 as well, because that is what the matrix units of processors multiply; with a
// b of f16 it may not.
// `epilogue` (empty: none) maps (product, extras..) to the result; extras broadcast to the product's shape, and the
// program's result type is the type of y.
//
// Quantised products are this op on bytes: the epilogue starts from the i32 sum of a * b and says what the zero points
// and scales of both sides make of it. For x = (a - a_zero) * a_scale and w = (b - b_zero) * b_scale the sum to scale
// is
//   a * b - a_zero * columns(b) - rows(a) * b_zero + k * a_zero * b_zero
// with the sums of columns and rows as extras: those of constant weights fold, and a zero point of 0 takes its term
// away. Scales are extras too, of any shape that broadcasts: per tensor, per column of b, per row of a
// (DynamicQuantize). Bias, activation, residual and the way back to bytes follow in the same program.
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
