// The matrix of a product as rows of floats, one row for each output, some at a time: from weights as they are, from
// those that a family stores the other way round, and from fp8 with scales, which this widens. Pages of the mapped file
// that have been read leave memory again.
#pragma once

#include <string>

#include "base/thread_team.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/quantization.h"
#include "graph/tensor.h"

namespace lathe::checkpoint {

// "name" of "name.weight"; `n` rows of `k` columns, stored [k, n] where `transposed`.
class WeightRows {
 public:
  // Throws Error(invalid_model) when the weight is missing or does not fit, or its scales are or do not.
  WeightRows(const Checkpoint& checkpoint, const Quantization& quantization, const std::string& name, int64_t n,
             int64_t k, bool transposed);

  bool is_fp8() const { return scales_.elements() > 0; }
  // Rows [begin, end), of f32, f16 or bf16; of fp8 in wide_type().
  Tensor read(int64_t begin, int64_t end) const;
  // Rows before `end` are not needed any more. Of transposed weights that is no page until all are done.
  void release(int64_t end) const;

  // What fp8 times its scales is rounded to: f16, whose 11 bits hold the product of a scale and fp8's 4 to 2^-12; bf16
  // where the largest would overflow.
  DType wide_type() const { return wide_; }
  // All of an fp8 weight, widened by all threads.
  Tensor widened(ThreadTeam& team) const;

 private:
  void find_scales(const Quantization& quantization);
  void widen(int64_t begin, int64_t end, std::span<std::byte> out) const;
  Tensor gathered(int64_t begin, int64_t end) const;

  const Checkpoint& checkpoint_;
  std::string name_;
  int64_t n_, k_;
  bool transposed_;
  Tensor stored_;
  Tensor scales_;  // f32 [rows of blocks, columns of blocks], of fp8
  int64_t block_rows_ = 0, block_columns_ = 0;
  DType wide_ = DType::f16;
};

bool is_fp8(const Checkpoint& checkpoint, const std::string& name);

}  // namespace lathe::checkpoint
