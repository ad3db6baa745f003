// Rotary position embedding of one row. Single-threaded; lower/rotary.cc deals the rows.
#pragma once

#include <cstdint>

namespace lathe::cpu {

struct RotaryKernels {
  // For d < half: (a, b) -> (a cos[d] - b sin[d], b cos[d] + a sin[d]) with a, b = x[d], x[d + half], or x[2d], x[2d +
  // 1] when interleaved. y may be x.
  void (*rotate)(const float* x, const float* cos, const float* sin, int64_t half, bool interleaved, float* y) noexcept;
};

}  // namespace lathe::cpu
