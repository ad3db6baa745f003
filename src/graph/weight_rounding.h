// Weights of floats rounded to integers of 4 or 8 bits with scales by blocks: the operands q and scales of MatMulNBits
// (ops/matmul_nbits.h), without zeros. Rows come in slices, so that a weight is never wide in memory as a whole;
// threads share the rows of a slice.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

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

// Finds the scales of blocks. One that has 8 bits gets max |w| / 127. One of 4 bits gets, of a number of scales around
// the one that reaches its extreme, the one with the least sum of squared errors. Scales are as stored in `type`.
class ScaleSearch {
 public:
  ScaleSearch(int bits, DType type) : bits_(bits), type_(type) {}
  // Throws Error(invalid_model) for infinities and NaN.
  float best(std::span<const float> block);

 private:
  int bits_;
  DType type_;
  std::vector<float> padded_;
};

// The level that is nearest to w / scale.
int8_t nearest_level(float w, float scale, int bits);

// Stores levels as the bytes of a tensor of i4 or i8, from its element `first` on.
void store_levels(std::span<const int8_t> levels, int64_t first, int bits, std::span<std::byte> out);

class WeightRounder {
 public:
  // Of a weight [n, k]. Throws Error(invalid_argument) for options out of range.
  WeightRounder(int64_t n, int64_t k, const RoundingOptions& options);

  // The next rows [r, k], of f32, f16 or bf16. Throws Error(invalid_model) for infinities, NaN, and for more rows than
  // there are.
  void add_rows(const Tensor& rows, ThreadTeam& team);
  // Once all rows are there.
  RoundedWeight finish() &&;

 private:
  RoundingOptions options_;
  RoundedWeight result_;
  int64_t done_ = 0;
};

}  // namespace lathe
