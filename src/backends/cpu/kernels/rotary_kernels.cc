// Halves are rotated by whole vectors; interleaved pairs in a plain loop, which compilers shuffle well.
#include "backends/cpu/kernels/rotary_kernels.h"

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

void rotate_halves(const float* x, const float* cos, const float* sin, int64_t half, float* y) noexcept {
  int64_t d = 0;
  for (; d + kVecWidth <= half; d += kVecWidth) {
    const Vec a = load(x + d), b = load(x + half + d), c = load(cos + d), s = load(sin + d);
    store(y + d, fnma(b, s, a * c));
    store(y + half + d, fma(a, s, b * c));
  }
  for (; d < half; ++d) {
    const float a = x[d], b = x[half + d];
    y[d] = a * cos[d] - b * sin[d];
    y[half + d] = b * cos[d] + a * sin[d];
  }
}

void rotate_pairs(const float* x, const float* cos, const float* sin, int64_t half, float* y) noexcept {
  for (int64_t d = 0; d < half; ++d) {
    const float a = x[2 * d], b = x[2 * d + 1];
    y[2 * d] = a * cos[d] - b * sin[d];
    y[2 * d + 1] = b * cos[d] + a * sin[d];
  }
}

void rotate(const float* x, const float* cos, const float* sin, int64_t half, bool interleaved, float* y) noexcept {
  (interleaved ? rotate_pairs : rotate_halves)(x, cos, sin, half, y);
}

}  // namespace

const RotaryKernels& rotary() {
  static constexpr RotaryKernels table = {rotate};
  return table;
}

}  // namespace lathe::cpu::LATHE_ISA
