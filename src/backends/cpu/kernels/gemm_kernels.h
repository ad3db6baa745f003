// The single-threaded parts of a float matrix product: register tiles, the packing of B, and the finishing of a tile.
// Nothing here allocates, throws or knows about threads; gemm.h has the drivers that users call.
//
// B comes as panels of `nr` columns: panel p holds columns [p*nr, p*nr + nr) as [k][nr], short panels padded with
// zeros.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/activation.h"

namespace lathe::cpu {

// out[i][j] = sum over k of a[i*lda + k] * b[k*ldb + j], for the tile's fixed number of rows and j < cols <= nr.
// The whole sum stays in registers. With `accumulate` it is added to what `out` holds. `prefetch`, when not null, is
// walked through at 16 bytes per k and touched into L2: the memory that a later call will need.
struct GemmTile {
  const float* a;
  int64_t lda;
  const float* b;
  int64_t ldb;  // nr in a packed panel; other strides read B where it lies
  int64_t k;
  float* out;
  int64_t ldo;
  int cols;
  bool accumulate;
  const char* prefetch;
};
using GemmTileKernel = void (*)(const GemmTile&) noexcept;

// c = activation(alpha * acc + bias + residual), or with residual_last activation(alpha * acc + bias) + residual.
// All pointers are at the first element of the tile; bias and residual may be null. acc may be c itself.
struct GemmFinish {
  const float* acc;
  int64_t ld_acc;
  int rows, cols;
  float alpha;
  const float* bias;
  const float* residual;
  int64_t ld_residual;
  bool residual_last;
  Activation activation;
  float* c;
  int64_t ldc;
};

inline constexpr int kGemmMaxRows = 14;

struct GemmKernels {
  int nr;                                 // columns of a panel
  int max_rows;                           // rows of the tallest tile, at most kGemmMaxRows
  GemmTileKernel tile[kGemmMaxRows + 1];  // by number of rows, 1..max_rows
  // The same, all with one sum for each element, along k: a row's bits do not depend on the rows beside it.
  GemmTileKernel uniform_tile[kGemmMaxRows + 1];
  void (*finish)(const GemmFinish&) noexcept;
  // Packs columns [0, cols) of a B whose element (k, n) is b[k*stride_k + n*stride_n] into one panel [k][nr].
  void (*pack_panel)(const float* b, int64_t stride_k, int64_t stride_n, int64_t k, int cols, float* panel) noexcept;
};

}  // namespace lathe::cpu
