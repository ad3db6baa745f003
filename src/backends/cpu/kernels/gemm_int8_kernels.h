// The single-threaded parts of integer products: register tiles of u8 activations times s8 weights with 32-bit sums,
// and the finishing of a tile. Products and convolutions share them. Nothing here allocates, throws or knows about
// threads; gemm_int8.h has the driver and the conversion of other signs to these.
//
// Sums are exact modulo 2^32: no instruction in use saturates in between.
//
// Weights come as panels of `nr` columns: panel p holds columns [p*nr, p*nr + nr) as [k/4][nr][4] bytes, then nr 32-bit
// sums of its columns. Columns and rows beyond the matrix are zero.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/activation.h"

namespace lathe::cpu {

// out[r][j] = sum over segments s and i < 4 * quads of rows[s * R + r][i] * weights of segment s, for the tile's R
// rows. A product has one segment; a convolution has one per run of taps.
struct Int8Tile {
  const uint8_t* const* rows;     // [segments][R]
  const int64_t* weight_offsets;  // [segments], bytes from `panel`
  int segments;
  int64_t quads;  // of a segment: groups of four consecutive activations
  const int8_t* panel;
  int32_t* out;          // [R][nr]
  const char* prefetch;  // advanced by prefetch_step bytes per quad and touched into L2
  int64_t prefetch_step;
};
using Int8TileKernel = void (*)(const Int8Tile&) noexcept;

// What becomes of a sum t in row i, column j, in this order; every null pointer leaves its part out:
//   t += col_add[j] + col_sum_factor * col_sums[j] + row_add[i] + row_factors[0][i] * col_factors[0][j] + ..[1]..
//   x = float(t) * col_scale[j] * row_scale[i] + bias[j] + residual[i][j], then the activation (the residual comes
//   after
//       it with residual_last)
//   y = x, or requantised: round_half_even(x / scale) + zero, clamped
// An i32 result is t itself.
struct Int8Sums {
  const int32_t* col_add = nullptr;
  const int32_t* col_sums = nullptr;
  int32_t col_sum_factor = 0;
  const int32_t* row_add = nullptr;
  const int32_t* row_factors[2] = {};
  const int32_t* col_factors[2] = {};
};

// q = clamp(round_half_even(x / scale) + zero, low, high), all held as floats. In an epilogue, which knows x up to
// float rounding only, dividing is multiplying by the reciprocal.
struct Int8Requantize {
  float scale = 1, zero = 0, low = 0, high = 255;
};

enum class Int8Result : uint8_t { i32, f32, bytes };
enum class Int8Residual : uint8_t { none, f32, u8, s8 };

struct Int8Finish {
  const int32_t* acc = nullptr;
  int64_t ld_acc = 0;
  int rows = 0, cols = 0;
  Int8Sums sums = {};
  const float* row_scale = nullptr;
  const float* col_scale = nullptr;
  const float* bias = nullptr;
  Activation activation = {};
  // The result of the activation goes through 8 bits and back before the residual comes on: (q - zero) * middle_scale.
  bool round_trip = false;
  Int8Requantize middle = {};
  float middle_scale = 1;
  Int8Residual residual_type = Int8Residual::none;
  const void* residual = nullptr;  // bytes stand for (q - residual_zero) * residual_scale
  int64_t ld_residual = 0;
  float residual_scale = 1, residual_zero = 0;
  bool residual_last = false;       // after `activation`, and before `last_activation`
  Activation last_activation = {};  // none, relu or clip
  Int8Result result = Int8Result::f32;
  Int8Requantize requantize = {};
  void* c = nullptr;
  int64_t ldc = 0;
};

inline constexpr int kInt8MaxRows = 14;

struct Int8Kernels {
  int nr;                                 // columns of a panel
  int max_rows;                           // of a tile, at most kInt8MaxRows
  Int8TileKernel tile[kInt8MaxRows + 1];  // by number of rows, 1..max_rows
  void (*finish)(const Int8Finish&) noexcept;
  // to[i] = from[i] ^ flip; returns the sum of to[0 .. n).
  int32_t (*copy_row)(const uint8_t* from, int64_t n, uint8_t flip, uint8_t* to) noexcept;
};

}  // namespace lathe::cpu
