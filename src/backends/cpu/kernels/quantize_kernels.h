// The single-threaded parts of quantisation: ranges of floats, and floats to bytes.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/gemm_int8_kernels.h"

namespace lathe::cpu {

struct FloatRange {
  float low, high;
};

struct QuantizeKernels {
  // The least and the greatest of n floats and 0.
  FloatRange (*range)(const float* x, int64_t n) noexcept;
  // y[i] = clamp(round_half_even(x[i] / scale) + zero, low, high), two's complement where low is negative.
  void (*quantize)(const float* x, int64_t n, const Int8Requantize& q, uint8_t* y) noexcept;
};

}  // namespace lathe::cpu
