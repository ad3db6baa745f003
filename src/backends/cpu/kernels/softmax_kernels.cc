#include "backends/cpu/kernels/softmax_kernels.h"

#include "backends/cpu/kernels/vec_math.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

// Copies x to y; returns the largest element (NaN elements do not count, they surface in the sum).
float copy_and_max(const float* x, int64_t n, float* y) {
  Vec highest = splat(-__builtin_inff());
  for_each_vec(0, n, [&](int64_t i, int lanes) {
    const Vec v = load_lanes(x + i, lanes);
    highest = max(select(first_lanes(lanes), v, highest), highest);
    store_lanes(y + i, v, lanes);
  });
  return max_lanes(highest);
}

// Writes exp(y - shift) over y when `keep`; returns the sum.
float sum_of_exp(float* y, int64_t n, float shift, bool keep) {
  Vec sum = zero();
  for_each_vec(0, n, [&](int64_t i, int lanes) {
    const Vec e = exp(load_lanes(y + i, lanes) - splat(shift));
    sum = sum + select(first_lanes(lanes), e, zero());
    if (keep) store_lanes(y + i, e, lanes);
  });
  return sum_lanes(sum);
}

void softmax_row(const Softmax& p, int64_t row) {
  float* y = p.y + row * p.ldy;
  float shift = copy_and_max(p.x + row * p.ldx, p.n, y);
  // In safe mode a row of -infinity is left as it is: every exponential is then 0, and NaN still comes through.
  const bool all_masked = shift == -__builtin_inff();
  if (p.safe && all_masked) shift = 0.0f;
  const float sum = sum_of_exp(y, p.n, shift, !p.log);
  if (p.safe && sum == 0.0f) return;
  const Vec factor = splat(1.0f / sum), log_sum = splat(p.log ? __builtin_logf(sum) : 0.0f);
  for_each_vec(0, p.n, [&](int64_t i, int lanes) {
    const Vec v = load_lanes(y + i, lanes);
    store_lanes(y + i, p.log ? v - splat(shift) - log_sum : v * factor, lanes);
  });
}

void softmax_rows(const Softmax& p, int64_t row_begin, int64_t row_end) noexcept {
  for (int64_t row = row_begin; row < row_end; ++row) softmax_row(p, row);
}

constexpr SoftmaxKernels kKernels = {softmax_rows};

}  // namespace

const SoftmaxKernels& softmax() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
