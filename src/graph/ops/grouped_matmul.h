// Products in which every row chooses its matrix: the experts of a mixture.
#pragma once

#include "graph/ops/field_types.h"

namespace lathe {

// (a [T, C or 1, K], chosen [T, C], weights..) -> y [T, C, N]: y[t][c] is the product of a[t][c], or of a[t][0] for all
// c, with the matrix number chosen[t][c], an i32 or i64 that is in range. The operands from kGroupedOperands on are the
// matrices one after the other, all of the same types, each operands_of_group() of them:
//   block == 0: the matrix [N, K] where trans_b, else [K, N], in floats of a's type or, beside f32, of 16 bits;
//   block > 0:  q [N, K], scales and zeros as in MatMulNBits, of which zeros may be absent; and order i32 [K], which
//               may be absent, too: column j of q meets column order[j] of a (GPTQ's act-order).
// Each row is a product of its own, whatever others there are. Only matrices that are chosen need to be read, which is
// what makes a few tokens cheap. round_rows is as in MatMulNBits.
struct GroupedMatMul {
  static constexpr std::string_view kName = "grouped_matmul";
  bool trans_b = false;
  int64_t block = 0;
  bool round_rows = false;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("trans_b", s.trans_b);
    visit("block", s.block);
    visit("round_rows", s.round_rows);
  }
};

// Operands before the matrices, and those of a matrix with scales.
inline constexpr size_t kGroupedOperands = 2, kNarrowGroupOperands = 4;

inline size_t operands_of_group(const GroupedMatMul& op) { return op.block == 0 ? 1 : kNarrowGroupOperands; }

}  // namespace lathe
