// Dot products: the register tile of matrix products with few columns.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/gemm_stream_kernels.h"

namespace lathe::cpu {

// out[i][j] = sum over k of a[i*lda + k] * b[j*ldb + k], for the tile's fixed number of rows and columns. b holds
// floats of the tile's type, ldb counts them.
struct DotTile {
  const float* a;
  int64_t lda;
  const void* b;
  int64_t ldb;
  int64_t k;
  float* out;
  int64_t ldo;
};

inline constexpr int kDotMaxRows = 4, kDotMaxColumns = 4;

struct GemmNarrowKernels {
  int max_columns;  // at most kDotMaxColumns
  // By type, rows - 1 and columns - 1.
  void (*tile[kPanelTypes][kDotMaxRows][kDotMaxColumns])(const DotTile& tile) noexcept;
};

}  // namespace lathe::cpu
