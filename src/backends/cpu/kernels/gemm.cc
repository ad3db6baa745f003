#include "backends/cpu/kernels/gemm.h"

#include <algorithm>

#include "backends/cpu/kernels/gemm_split.h"
#include "backends/cpu/kernels/gemm_store.h"

namespace lathe::cpu {
namespace {

constexpr int64_t kLeastResidentTiles = 8;

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
  const GemmTileKernel* tiles;  // by rows
};

// One tile: rows [row, row + rows), columns of panel `panel`, whose B starts at `b`.
void compute_tile(const Product& p, int64_t row, int rows, int64_t panel, const float* b, int64_t ldb,
                  const char* prefetch) {
  const GemmEpilogue& e = p.epilogue;
  const int64_t col = panel * p.kernels.nr;
  const int cols = static_cast<int>(std::min<int64_t>(p.kernels.nr, p.n - col));
  const float* a = p.a + row * p.lda;
  if (!p.direct) {
    alignas(64) float sums[kGemmMaxRows * kMaxPanel];
    p.tiles[rows]({a, p.lda, b, ldb, p.k, sums, kMaxPanel, cols, false, prefetch});
    return store_tile(p.kernels, e, p.n, p.batch, row, rows, panel, sums, kMaxPanel);
  }
  p.tiles[rows]({a, p.lda, b, ldb, p.k, e.c + row * e.ldc + col, e.ldc, cols, false, prefetch});
  if (e.post != nullptr) e.post(e.post_context, {p.batch, row, row + rows, col, col + cols});
}

// All row tiles of one panel. The rows are dealt evenly: 200 rows become 8 tiles of 13 and 8 of 12, never a tile of 4.
// While at it, the tiles touch the `next` panel of weights, whose rows are `row_bytes` long, so that it is in L2 when
// its turn comes.
void compute_panel(const Product& p, Range rows, int64_t panel, const float* b, int64_t ldb, const char* next,
                   int64_t row_bytes) {
  const int64_t tiles = ceil_div(rows.size(), p.kernels.max_rows);
  constexpr int64_t kPrefetchBytesPerStep = 16;  // as GemmTile::prefetch says
  const int64_t tiles_to_fetch = row_bytes / kPrefetchBytesPerStep;
  for (int64_t i = 0; i < tiles; ++i) {
    const Range part = even_part(rows.size(), i, tiles);
    const char* prefetch = nullptr;
    if (next != nullptr && i < tiles_to_fetch) prefetch = next + i * p.k * kPrefetchBytesPerStep;
    compute_tile(p, rows.begin + part.begin, static_cast<int>(part.size()), panel, b, ldb, prefetch);
  }
}

// Panels of one weight. Those of 16 bits are widened one by one: with more than a few rows that costs less than
// widening in every tile.
struct Panels {
  const char* data;
  int64_t bytes, row_bytes;                                          // of each
  void (*widen)(const void* panel, int64_t k, float* out) noexcept;  // null for f32
  float* wide;                                                       // where to
};

void gemm_part(const Product& p, const Panels& weights, Range rows, Range panels) {
  const int64_t tile_rows = p.kernels.max_rows;
  const int64_t fitting = kResidentBytes / static_cast<int64_t>(sizeof(float)) / std::max<int64_t>(p.k, 1);
  const int64_t block = std::max(fitting, kLeastResidentTiles * tile_rows);
  const int64_t blocks = ceil_div(rows.size(), block);
  for (int64_t i = 0; i < blocks; ++i) {
    const Range part = even_part(rows.size(), i, blocks);
    for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
      const char* stored = weights.data + panel * weights.bytes;
      const char* next = panel + 1 < panels.end ? stored + weights.bytes : nullptr;
      if (weights.widen != nullptr) weights.widen(stored, p.k, weights.wide);
      const float* b = weights.widen != nullptr ? weights.wide : reinterpret_cast<const float*>(stored);
      compute_panel(p, {rows.begin + part.begin, rows.begin + part.end}, panel, b, p.kernels.nr, next,
                    weights.row_bytes);
    }
  }
}

// Few rows: each weight is read once, and widened on the way.
void stream_panels(const Product& p, const GemmStreamKernels& kernels, const Gemm& g, Range panels) {
  const int rows = static_cast<int>(g.m);
  const int64_t panel_bytes = packed_b_bytes(g.panels, p.kernels.nr, p.k, p.kernels.nr);
  const auto tile = (g.uniform ? kernels.uniform_tile : kernels.tile)[static_cast<int>(g.panels)][rows];
  alignas(64) float sums[kStreamMaxRows * kMaxPanel];
  for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
    tile({g.a, g.lda, static_cast<const char*>(g.packed_b) + panel * panel_bytes, g.k, sums});
    store_tile(p.kernels, g.epilogue, g.n, 0, 0, rows, panel, sums, p.kernels.nr);
  }
}

}  // namespace

int64_t gemm_workspace_floats(const KernelTable& kernels, const Gemm& g, int threads) {
  const bool widens = g.panels != PanelType::f32 && g.m > kernels.gemm_stream.max_rows;
  return widens ? threads * g.k * kernels.gemm.nr : 0;
}

void gemm(ThreadTeam& team, const KernelTable& table, const Gemm& g, float* workspace) {
  if (g.m <= 0 || g.n <= 0) return;
  const GemmKernels& kernels = table.gemm;
  const Product product{kernels,
                        g.n,
                        g.k,
                        g.a,
                        g.lda,
                        g.epilogue,
                        0,
                        stores_directly(g.epilogue) && !g.uniform,
                        g.uniform ? kernels.uniform_tile : kernels.tile};
  const int64_t panels = panel_count(kernels.nr, g.n);
  if (g.m <= table.gemm_stream.max_rows) {
    return team.parallel_for(panels, [&](int64_t begin, int64_t end, int) {
      stream_panels(product, table.gemm_stream, g, {begin, end});
    });
  }
  const GemmSplit split = choose_split(team.size(), g.m, panels, kernels.max_rows);
  const int64_t panel_bytes = packed_b_bytes(g.panels, kernels.nr, g.k, kernels.nr);
  const bool wide = g.panels == PanelType::f32;
  team.parallel_for(split.panels * split.rows, [&](int64_t begin, int64_t end, int thread) {
    const Panels weights{static_cast<const char*>(g.packed_b), panel_bytes, kernels.nr * (wide ? 4 : 2),
                         wide ? nullptr : table.gemm_stream.widen[static_cast<int>(g.panels)],
                         wide ? nullptr : workspace + thread * g.k * kernels.nr};
    for (int64_t part = begin; part < end; ++part) {
      gemm_part(product, weights, even_part(g.m, part % split.rows, split.rows),
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
      Product product{kernels,
                      mm.n,
                      mm.k,
                      mm.a + offset(&MatmulBatch::a),
                      mm.lda,
                      mm.epilogue,
                      batch,
                      direct,
                      mm.uniform ? kernels.uniform_tile : kernels.tile};
      product.epilogue.c += offset(&MatmulBatch::c);
      if (product.epilogue.residual != nullptr) product.epilogue.residual += offset(&MatmulBatch::residual);

      const int64_t col = panel * kernels.nr;
      const float* b = mm.b + offset(&MatmulBatch::b) + col * mm.stride_n;
      const Range rows = even_part(mm.m, part, row_parts);
      if (in_place) {
        compute_panel(product, rows, panel, b, mm.stride_k, nullptr, 0);
      } else {
        const int cols = static_cast<int>(std::min<int64_t>(kernels.nr, mm.n - col));
        kernels.pack_panel(b, mm.stride_k, mm.stride_n, mm.k, cols, packed);
        compute_panel(product, rows, panel, packed, kernels.nr, nullptr, 0);
      }
    }
  });
}

}  // namespace lathe::cpu
