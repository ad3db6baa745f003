#include "backends/cpu/kernels/gemm_narrow.h"

#include <algorithm>

#include "backends/cpu/kernels/gemm_narrow_kernels.h"
#include "base/error.h"

namespace lathe::cpu {
namespace {

constexpr int64_t kBlockRows = 16;  // finished together: few columns alone are not worth the call

void compute_block(const KernelTable& kernels, const Gemm& g, Range rows, Range columns) {
  const GemmEpilogue& e = g.epilogue;
  float sums[kBlockRows * kNarrowColumns];
  const auto& tiles = kernels.gemm_narrow.tile[static_cast<int>(g.panels)];
  const int64_t column_bytes = packed_b_bytes(g.panels, 1, g.k, 1);
  const int64_t column_elements = column_bytes / (g.panels == PanelType::f32 ? 4 : 2);
  const auto* packed = static_cast<const char*>(g.packed_b);
  for (int64_t row = rows.begin; row < rows.end; row += kDotMaxRows) {
    const int64_t height = std::min<int64_t>(kDotMaxRows, rows.end - row);
    for (int64_t col = columns.begin; col < columns.end; col += kernels.gemm_narrow.max_columns) {
      const int64_t width = std::min<int64_t>(kernels.gemm_narrow.max_columns, columns.end - col);
      tiles[height - 1][width - 1]({g.a + row * g.lda, g.lda, packed + col * column_bytes, column_elements, g.k,
                                    sums + (row - rows.begin) * kNarrowColumns + col - columns.begin, kNarrowColumns});
    }
  }
  const float* bias = e.bias == nullptr ? nullptr : e.bias + columns.begin;
  const float* residual = e.residual == nullptr ? nullptr : e.residual + rows.begin * e.ld_residual + columns.begin;
  kernels.gemm.finish({sums, kNarrowColumns, static_cast<int>(rows.size()), static_cast<int>(columns.size()), e.alpha,
                       bias, residual, e.ld_residual, e.residual_after_activation, e.activation,
                       e.c + rows.begin * e.ldc + columns.begin, e.ldc});
  if (e.post != nullptr) e.post(e.post_context, {0, rows.begin, rows.end, columns.begin, columns.end});
}

}  // namespace

void gemm_narrow(ThreadTeam& team, const KernelTable& kernels, const Gemm& g) {
  LATHE_CHECK(g.n <= kNarrowColumns);
  if (g.n <= 0) return;
  const int64_t blocks = (g.m + kBlockRows - 1) / kBlockRows;
  // Columns are shared only when there are too few rows: each thread would read all of A.
  const int64_t column_parts = blocks >= team.size() ? 1 : std::min<int64_t>(team.size(), g.n);
  team.parallel_for(blocks * column_parts, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; ++item)
      compute_block(kernels, g, even_part(g.m, item / column_parts, blocks),
                    even_part(g.n, item % column_parts, column_parts));
  });
}

}  // namespace lathe::cpu
