#include "backends/cpu/kernels/norm_kernels.h"

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

// sum of f(vector) over a row, in four independent sums: faster, and smaller rounding errors than one long sum.
template <class F>
inline float sum_over(int64_t n, F f) {
  Vec sums[4] = {zero(), zero(), zero(), zero()};
  int64_t i = 0;
  for (; i + 4 * kVecWidth <= n; i += 4 * kVecWidth) {
    LATHE_UNROLL
    for (int u = 0; u < 4; ++u) sums[u] = sums[u] + f(i + u * kVecWidth, kVecWidth);
  }
  for (; i < n; i += kVecWidth) {
    const int lanes = n - i < kVecWidth ? static_cast<int>(n - i) : kVecWidth;
    sums[0] = sums[0] + f(i, lanes);
  }
  return sum_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// The row to normalise: x itself, or x + residual + bias written to where there is room for it.
const float* add_inputs(const Norm& p, int64_t row) {
  const float* x = p.x + row * p.ldx;
  if (p.residual == nullptr && p.bias == nullptr && p.sum == nullptr) return x;
  const float* residual = p.residual == nullptr ? nullptr : p.residual + row * p.ld_residual;
  float* out = p.sum != nullptr ? p.sum + row * p.ld_sum : p.y + row * p.ldy;
  for_each_vec(0, p.n, [&](int64_t i, int lanes) {
    Vec v = load_lanes(x + i, lanes);
    if (residual != nullptr) v = v + load_lanes(residual + i, lanes);
    if (p.bias != nullptr) v = v + load_lanes(p.bias + i, lanes);
    store_lanes(out + i, v, lanes);
  });
  return out;
}

void normalize_row(const Norm& p, int64_t row) {
  const float* s = add_inputs(p, row);
  const float count = static_cast<float>(p.n);
  float mean = 0.0f;
  if (!p.rms) mean = sum_over(p.n, [&](int64_t i, int lanes) { return load_lanes(s + i, lanes); }) / count;
  const Vec center = splat(mean);
  const float squares = sum_over(p.n, [&](int64_t i, int lanes) {
    // Lanes beyond the row hold 0, not the mean: they must not count.
    const Vec d = select(first_lanes(lanes), load_lanes(s + i, lanes) - center, zero());
    return d * d;
  });
  const float inverse_std = 1.0f / __builtin_sqrtf(squares / count + p.epsilon);
  if (p.mean != nullptr) p.mean[row] = mean;
  if (p.inverse_std != nullptr) p.inverse_std[row] = inverse_std;
  float* y = p.y + row * p.ldy;
  const Vec factor = splat(inverse_std);
  for_each_vec(0, p.n, [&](int64_t i, int lanes) {
    Vec v = (load_lanes(s + i, lanes) - center) * factor;
    if (p.scale != nullptr) v = v * load_lanes(p.scale + i, lanes);
    if (p.shift != nullptr) v = v + load_lanes(p.shift + i, lanes);
    store_lanes(y + i, v, lanes);
  });
}

void normalize(const Norm& p, int64_t row_begin, int64_t row_end) noexcept {
  for (int64_t row = row_begin; row < row_end; ++row) normalize_row(p, row);
}

constexpr NormKernels kKernels = {normalize};

}  // namespace

const NormKernels& norm() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
