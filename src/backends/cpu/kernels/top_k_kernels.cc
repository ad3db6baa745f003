#include "backends/cpu/kernels/top_k_kernels.h"

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

// beats(v) is a mask. Blocks without a hit are skipped; the lane of a hit is found in the first vector that has one.
template <class Beats>
inline int64_t find(const float* x, int64_t begin, int64_t n, Beats beats) {
  constexpr int kTogether = 4;
  int64_t i = begin;
  for (; i + kTogether * kVecWidth <= n; i += kTogether * kVecWidth) {
    Mask hit = beats(load(x + i));
    LATHE_UNROLL
    for (int v = 1; v < kTogether; ++v) hit = either(hit, beats(load(x + i + v * kVecWidth)));
    if (any(hit)) break;
  }
  for (; i < n; ++i)
    if (any(both(beats(splat(x[i])), first_lanes(1)))) return i;
  return n;
}

int64_t find_above(const float* x, int64_t begin, int64_t n, float bound) noexcept {
  if (bound != bound) return n;
  const Vec limit = splat(bound);
  return find(x, begin, n, [=](Vec v) { return invert(less_equal(v, limit)); });
}

int64_t find_below(const float* x, int64_t begin, int64_t n, float bound) noexcept {
  if (bound != bound) return find(x, begin, n, [](Vec v) { return invert(is_nan(v)); });
  const Vec limit = splat(bound);
  return find(x, begin, n, [=](Vec v) { return less(v, limit); });
}

constexpr TopKKernels kKernels = {find_above, find_below};

}  // namespace

const TopKKernels& top_k() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
