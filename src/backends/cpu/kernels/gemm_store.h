// How a computed tile of a float product reaches C; shared by the drivers of float products.
#pragma once

#include <algorithm>

#include "backends/cpu/kernels/gemm.h"

namespace lathe::cpu {

inline constexpr int kMaxPanel = 32;  // columns

// Rows [row, row + rows) of panel `panel`, whose sums are [rows][ld_sums], go through the epilogue. n: columns of C.
inline void store_tile(const GemmKernels& kernels, const GemmEpilogue& e, int64_t n, int64_t batch, int64_t row,
                       int rows, int64_t panel, const float* sums, int64_t ld_sums) {
  const int64_t col = panel * kernels.nr;
  const int cols = static_cast<int>(std::min<int64_t>(kernels.nr, n - col));
  const float* residual = e.residual == nullptr ? nullptr : e.residual + row * e.ld_residual + col;
  kernels.finish({sums, ld_sums, rows, cols, e.alpha, e.bias == nullptr ? nullptr : e.bias + col, residual,
                  e.ld_residual, e.residual_after_activation, e.activation, e.c + row * e.ldc + col, e.ldc});
  if (e.post != nullptr) e.post(e.post_context, {batch, row, row + rows, col, col + cols});
}

}  // namespace lathe::cpu
