// Layer and RMS normalisation of rows, with what usually surrounds it done in the same pass. Single-threaded parts;
// norm.h has the driver.
#pragma once

#include <cstdint>

namespace lathe::cpu {

// For each row: s = x + residual + bias, then
//   layer norm  y = (s - mean(s)) / sqrt(var(s) + epsilon) * scale + shift       var is the biased variance, two-pass
//   RMS norm    y = s / sqrt(mean(s^2) + epsilon) * scale + shift
// Null pointers leave their part out. y and sum may be x or residual.
struct Norm {
  int64_t rows = 0, n = 0;
  const float* x = nullptr;
  int64_t ldx = 0;
  const float* residual = nullptr;
  int64_t ld_residual = 0;
  const float* bias = nullptr;  // [n]
  float* sum = nullptr;         // receives s
  int64_t ld_sum = 0;
  bool rms = false;
  float epsilon = 0.0f;
  const float* scale = nullptr;  // [n]
  const float* shift = nullptr;  // [n]
  float* y = nullptr;
  int64_t ldy = 0;
  float* mean = nullptr;         // [rows], receives mean(s); not with rms
  float* inverse_std = nullptr;  // [rows], receives the reciprocal square root
};

struct NormKernels {
  void (*normalize)(const Norm& norm, int64_t row_begin, int64_t row_end) noexcept;
};

}  // namespace lathe::cpu
