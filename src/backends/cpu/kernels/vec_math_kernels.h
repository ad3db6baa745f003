// The elementary functions of vec_math.h over arrays.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/activation.h"

namespace lathe::cpu {

// y[i] = f(x[i]) for i < n; y may be x.
struct VecMathKernels {
  void (*exp)(const float* x, float* y, int64_t n) noexcept;
  void (*erf)(const float* x, float* y, int64_t n) noexcept;
  void (*activate)(Activation activation, const float* x, float* y, int64_t n) noexcept;
};

}  // namespace lathe::cpu
