// Partial reductions of floats, along a contiguous run or down the columns of a matrix. Sums keep many accumulators and
// are short enough that float accumulators lose little; callers add the partial results up in double.
#pragma once

#include <cstdint>

namespace lathe::cpu {

enum class PartialReduce : uint8_t { sum, abs_sum, square_sum, exp_sum, product, max, min };
inline constexpr int kPartialReduceCount = 7;

inline constexpr int64_t kMaxReduceRun = 512;      // values of one partial result of run
inline constexpr int64_t kMaxReduceRows = 32;      // of one partial result of columns, which has fewer accumulators
inline constexpr int64_t kMaxReduceColumns = 128;  // columns of one call

struct ReduceKernels {
  // The partial result of x[0..n), n >= 1. exp_sum sums exp(x - *shift); the others ignore shift. NaN in, NaN out.
  using Run = float (*)(const float* x, int64_t n, const float* shift) noexcept;
  Run run[kPartialReduceCount];

  // out[c] = partial result of x[r * stride + c] over r < rows, for c < columns <= kMaxReduceColumns, rows >= 1.
  // exp_sum subtracts shift[c].
  using Columns = void (*)(const float* x, int64_t rows, int64_t stride, int64_t columns, const float* shift,
                           float* out) noexcept;
  Columns columns[kPartialReduceCount];

  // y[r * stride + c] = exp(x[...] - shift[c]) * scale[c]; or with `log` x - shift[c] - scale[c]. Same sizes as
  // columns.
  void (*soften_columns)(const float* x, int64_t rows, int64_t stride, int64_t columns, const float* shift,
                         const float* scale, bool log, float* y) noexcept;
};

}  // namespace lathe::cpu
