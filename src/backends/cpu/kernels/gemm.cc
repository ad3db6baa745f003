#include "backends/cpu/kernels/gemm.h"

#include <algorithm>

#include "backends/cpu/kernels/gemm_split.h"

namespace lathe::cpu {
namespace {

// A block of A of about this size stays in a core's L2 while panels of B pass by.
constexpr int64_t kResidentBytes = 768 * 1024;
constexpr int64_t kLeastResidentTiles = 8;
constexpr int kMaxPanel = 32;

bool stores_directly(const GemmEpilogue& e) {
  return e.alpha == 1.0f && e.bias == nullptr && e.residual == nullptr && e.activation.kind == ActivationKind::none;
}

// Everything a thread needs to compute tiles of one product.
struct Product {
  const GemmKernels& kernels;
  int64_t n, k;
  const float* a;
  int64_t lda;
  GemmEpilogue epilogue;
  int64_t batch;
  bool direct;
};

// One tile: rows [row, row + rows), columns of panel `panel`, whose B starts at `b`.
void compute_tile(const Product& p, int64_t row, int rows, int64_t panel, const float* b, int64_t ldb,
                  const char* prefetch) {
  const GemmEpilogue& e = p.epilogue;
  const int64_t col = panel * p.kernels.nr;
  const int cols = static_cast<int>(std::min<int64_t>(p.kernels.nr, p.n - col));
  float* c = e.c + row * e.ldc + col;
  const float* a = p.a + row * p.lda;
  if (p.direct) {
    p.kernels.tile[rows]({a, p.lda, b, ldb, p.k, c, e.ldc, cols, false, prefetch});
  } else {
    alignas(64) float sums[kGemmMaxRows * kMaxPanel];
    const float* residual = e.residual == nullptr ? nullptr : e.residual + row * e.ld_residual + col;
    p.kernels.tile[rows]({a, p.lda, b, ldb, p.k, sums, kMaxPanel, cols, false, prefetch});
    p.kernels.finish({sums, kMaxPanel, rows, cols, e.alpha, e.bias == nullptr ? nullptr : e.bias + col, residual,
                      e.ld_residual, e.residual_after_activation, e.activation, c, e.ldc});
  }
  if (e.post != nullptr) e.post(e.post_context, {p.batch, row, row + rows, col, col + cols});
}

// All row tiles of one panel. The rows are dealt evenly: 200 rows become 8 tiles of 13 and 8 of 12, never a tile of 4.
// While at it, the tiles touch the `next` panel, so that it is in L2 when its turn comes.
void compute_panel(const Product& p, Range rows, int64_t panel, const float* b, int64_t ldb, const float* next) {
  const int64_t tiles = ceil_div(rows.size(), p.kernels.max_rows);
  constexpr int64_t kPrefetchBytesPerStep = 16;  // as GemmTile::prefetch says
  const int64_t tiles_to_fetch = p.kernels.nr * static_cast<int64_t>(sizeof(float)) / kPrefetchBytesPerStep;
  for (int64_t i = 0; i < tiles; ++i) {
    const Range part = even_part(rows.size(), i, tiles);
    const char* prefetch = nullptr;
    if (next != nullptr && i < tiles_to_fetch)
      prefetch = reinterpret_cast<const char*>(next) + i * p.k * kPrefetchBytesPerStep;
    compute_tile(p, rows.begin + part.begin, static_cast<int>(part.size()), panel, b, ldb, prefetch);
  }
}

void gemm_part(const Product& p, const float* packed_b, Range rows, Range panels) {
  const int64_t tile_rows = p.kernels.max_rows;
  const int64_t fitting = kResidentBytes / static_cast<int64_t>(sizeof(float)) / std::max<int64_t>(p.k, 1);
  const int64_t block = std::max(fitting, kLeastResidentTiles * tile_rows);
  const int64_t blocks = ceil_div(rows.size(), block);
  const int64_t panel_floats = p.k * p.kernels.nr;
  for (int64_t i = 0; i < blocks; ++i) {
    const Range part = even_part(rows.size(), i, blocks);
    for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
      const float* b = packed_b + panel * panel_floats;
      const float* next = panel + 1 < panels.end ? b + panel_floats : nullptr;
      compute_panel(p, {rows.begin + part.begin, rows.begin + part.end}, panel, b, p.kernels.nr, next);
    }
  }
}

}  // namespace

void gemm(ThreadTeam& team, const GemmKernels& kernels, const Gemm& g) {
  if (g.m <= 0 || g.n <= 0) return;
  const Product product{kernels, g.n, g.k, g.a, g.lda, g.epilogue, 0, stores_directly(g.epilogue)};
  const int64_t panels = panel_count(kernels.nr, g.n);
  const GemmSplit split = choose_split(team.size(), g.m, panels, kernels.max_rows);
  team.parallel_for(split.panels * split.rows, [&](int64_t begin, int64_t end, int) {
    for (int64_t part = begin; part < end; ++part) {
      gemm_part(product, g.packed_b, even_part(g.m, part % split.rows, split.rows),
                even_part(panels, part / split.rows, split.panels));
    }
  });
}

namespace {

// Packing a panel costs about as much as one tile; reading B where it lies is better when only a few tiles use it.
bool reads_b_in_place(const GemmKernels& kernels, const Matmul& mm) {
  constexpr int64_t kFewTiles = 2;
  return mm.stride_n == 1 && mm.m <= kFewTiles * kernels.max_rows;
}

}  // namespace

int64_t matmul_workspace_floats(const GemmKernels& kernels, const Matmul& mm, int threads) {
  return reads_b_in_place(kernels, mm) ? 0 : threads * mm.k * kernels.nr;
}

void matmul(ThreadTeam& team, const GemmKernels& kernels, const Matmul& mm, float* workspace) {
  const int64_t batches = mm.outer.count * mm.inner.count;
  if (mm.m <= 0 || mm.n <= 0 || batches <= 0) return;
  const int64_t panels = panel_count(kernels.nr, mm.n);
  const bool in_place = reads_b_in_place(kernels, mm);
  const bool direct = stores_directly(mm.epilogue);
  // Rows are split only when there are fewer panels than threads; each part then packs the panel for itself.
  const int64_t row_parts = std::min(ceil_div(team.size(), batches * panels), ceil_div(mm.m, kernels.max_rows));

  team.parallel_for(batches * row_parts * panels, [&](int64_t begin, int64_t end, int thread) {
    float* packed = in_place ? nullptr : workspace + thread * mm.k * kernels.nr;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t panel = item % panels, part = item / panels % row_parts, batch = item / panels / row_parts;
      const int64_t outer = batch / mm.inner.count, inner = batch % mm.inner.count;
      const auto offset = [&](int64_t MatmulBatch::*stride) {
        return outer * mm.outer.*stride + inner * mm.inner.*stride;
      };
      Product product{kernels, mm.n, mm.k, mm.a + offset(&MatmulBatch::a), mm.lda, mm.epilogue, batch, direct};
      product.epilogue.c += offset(&MatmulBatch::c);
      if (product.epilogue.residual != nullptr) product.epilogue.residual += offset(&MatmulBatch::residual);

      const int64_t col = panel * kernels.nr;
      const float* b = mm.b + offset(&MatmulBatch::b) + col * mm.stride_n;
      const Range rows = even_part(mm.m, part, row_parts);
      if (in_place) {
        compute_panel(product, rows, panel, b, mm.stride_k, nullptr);
      } else {
        const int cols = static_cast<int>(std::min<int64_t>(kernels.nr, mm.n - col));
        kernels.pack_panel(b, mm.stride_k, mm.stride_n, mm.k, cols, packed);
        compute_panel(product, rows, panel, packed, kernels.nr, nullptr);
      }
    }
  });
}

}  // namespace lathe::cpu
