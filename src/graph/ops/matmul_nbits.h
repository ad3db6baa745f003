// Products with weights of a few bits that share scales by blocks: MatMulNBits, GPTQ, AWQ, int8 per channel.
#pragma once

#include "graph/map_program.h"
#include "graph/ops/field_types.h"

namespace lathe {

// (a [.., K], q [N, K], scales [N, ceil(K / block)], zeros, extras..) -> y [.., N], the product of a with the transpose
// of the weights
//   w[n][k] = (q[n][k] - zeros[n][k / block]) * scales[n][k / block]
// q holds integers of 8 bits or fewer, along K in memory; a and scales f32, f16 or bf16, each of its own type. zeros
// are of q's type, or of the scales' where they are no whole numbers; without them the zero is the middle of the type:
// 0 for signed, half of the range for unsigned integers. block = K is one scale per row of q, "per channel". Sums are
// f32, the product has a's type. `epilogue` is as in MatMul, its extras are the operands from the fifth on.
//
// With round_rows a kernel may round a to 8 bits: each row, or each part of a row that meets one block, gets the
// symmetric scale max |a| / 127. Parts that hold infinities or NaN give NaN then. It may also keep a as it is, as the
// reference evaluation does; without round_rows it must.
//
// Weights whose columns were sorted by group (GPTQ's act-order) are this op on a gather of a's columns.
struct MatMulNBits {
  static constexpr std::string_view kName = "matmul_nbits";
  int64_t block = 32;
  bool round_rows = false;
  MapProgram epilogue;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("block", s.block);
    visit("round_rows", s.round_rows);
    visit("epilogue", s.epilogue);
  }
};

// Operands before those of the epilogue.
inline constexpr size_t kNBitsOperands = 4;

}  // namespace lathe
