// Weights of floats rounded to integers of 4 or 8 bits with scales by blocks: the operands q and scales of MatMulNBits
// (ops/matmul_nbits.h), without zeros. Rows come in slices, so that a weight is never wide in memory as a whole;
// threads share the rows of a slice.
#pragma once

#include "base/thread_team.h"
#include "graph/tensor.h"

namespace lathe {

struct RoundingOptions {
  int bits = 4;              // 4 or 8
  int64_t block = 128;       // columns that share a scale; 0: all of a row
  DType scale = DType::f16;  // f32, f16 or bf16
};

struct RoundedWeight {
  Tensor q;       // [n, k] of i4 or i8
  Tensor scales;  // [n, ceil(k / block)]
};

class WeightRounder {
 public:
  // Of a weight [n, k]. Throws Error(invalid_argument) for options out of range.
  WeightRounder(int64_t n, int64_t k, const RoundingOptions& options);

  // The next rows [r, k], of f32, f16 or bf16. Throws Error(invalid_model) for infinities, NaN, and for more rows than
  // there are.
  //
  // A block of 8 bits gets the scale max |w| / 127. One of 4 bits gets, of a number of scales around the one that
  // reaches its extreme, the one with the least sum of squared errors, as stored in the type of scales.
  void add_rows(const Tensor& rows, ThreadTeam& team);
  // Once all rows are there.
  RoundedWeight finish() &&;

 private:
  RoundingOptions options_;
  RoundedWeight result_;
  int64_t done_ = 0;
};

}  // namespace lathe
