// Combining rows of floats element by element: what pooling does with the pixels of a window, and resampling with the
// rows and pixels around a position.
#pragma once

#include <cstdint>

namespace lathe::cpu {

struct PoolKernels {
  // out[i] = max over rows of rows[r][i], NaN if any is; count >= 1.
  void (*max_rows)(const float* const* rows, int64_t count, int64_t n, float* out) noexcept;
  // The same of bytes; count >= 1.
  void (*max_byte_rows)(const uint8_t* const* rows, int64_t count, int64_t n, bool is_signed, uint8_t* out) noexcept;
  // out[i] = scale * sum over rows of rows[r][i], of its absolute value, of its square.
  void (*sum_rows)(const float* const* rows, int64_t count, int64_t n, float scale, float* out) noexcept;
  void (*abs_sum_rows)(const float* const* rows, int64_t count, int64_t n, float scale, float* out) noexcept;
  void (*square_sum_rows)(const float* const* rows, int64_t count, int64_t n, float scale, float* out) noexcept;
  // out[i] = sum over rows of weights[r] * rows[r][i].
  void (*weighted_rows)(const float* const* rows, const float* weights, int64_t count, int64_t n, float* out) noexcept;
};

}  // namespace lathe::cpu
