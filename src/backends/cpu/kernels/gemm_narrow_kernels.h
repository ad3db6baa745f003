// Dot products: the register tile of matrix products with few columns.
#pragma once

#include <cstdint>

namespace lathe::cpu {

// out[i][j] = sum over k of a[i*lda + k] * b[j*ldb + k], for the tile's fixed number of rows and columns.
struct DotTile {
  const float* a;
  int64_t lda;
  const float* b;
  int64_t ldb;
  int64_t k;
  float* out;
  int64_t ldo;
};

inline constexpr int kDotMaxRows = 4, kDotMaxColumns = 4;

struct GemmNarrowKernels {
  int max_columns;                                                          // at most kDotMaxColumns
  void (*tile[kDotMaxRows][kDotMaxColumns])(const DotTile& tile) noexcept;  // by rows - 1, columns - 1
};

}  // namespace lathe::cpu
