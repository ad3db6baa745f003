#include "backends/cpu/kernels/gemm_bf16.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "backends/cpu/kernels/gemm_split.h"
#include "backends/cpu/kernels/gemm_store.h"

namespace lathe::cpu {

namespace avx512 {
const GemmBf16Kernels& gemm_amx();
}

namespace {

// The shortest of a few runs, in nanoseconds; all data is in the first cache.
template <class F>
int64_t shortest(F run) {
  constexpr int kRuns = 20;
  int64_t best = INT64_MAX;
  for (int i = 0; i < kRuns; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    best = std::min<int64_t>(best, (std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

// Some processors multiply bf16 at half the rate of f32, others at twice: the rates are far enough apart for this to be
// the same answer each time.
bool beats_f32(const GemmBf16Kernels& unit, const GemmKernels& kernels) {
  constexpr int64_t kDepth = 256;
  constexpr double kClearly = 1.2;
  const int rows = kernels.max_rows;
  const std::vector<float> a(static_cast<size_t>(rows * kDepth)), b(static_cast<size_t>(kMaxPanel * kDepth));
  std::vector<float> sums(static_cast<size_t>(kMaxPanel * std::max(rows, unit.max_rows)));
  std::vector<uint16_t> block(static_cast<size_t>(unit.block_elements(kDepth)));
  const int64_t wide = shortest([&] {
    kernels.tile[rows](
        {a.data(), kDepth, b.data(), kernels.nr, kDepth, sums.data(), kMaxPanel, kernels.nr, false, nullptr});
  });
  const int64_t narrow = shortest([&] { unit.tile({block.data(), b.data(), kDepth, sums.data(), rows, nullptr}); });
  return static_cast<double>(wide) > kClearly * static_cast<double>(narrow);
}

constexpr int64_t kPrefetchBytesPerStep = 16;  // as GemmTile::prefetch says

// A product whose rows have been rounded: blocks of rows, all of the same number of elements.
struct RoundedProduct {
  const KernelTable& kernels;
  const GemmBf16Kernels& unit;
  const Gemm& g;
  const uint16_t* rounded;
  int64_t blocks, block_elements, panel_bytes;
};

void compute_panel(const RoundedProduct& p, Range blocks, int64_t panel, bool last) {
  const Gemm& g = p.g;
  const char* b = static_cast<const char*>(g.packed_b) + panel * p.panel_bytes;
  const int64_t tiles_to_fetch = p.panel_bytes / std::max<int64_t>(g.k * kPrefetchBytesPerStep, 1);
  alignas(64) float sums[kMaxBf16Rows * kMaxPanel];
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const Range rows = even_part(g.m, block, p.blocks);
    const int64_t turn = block - blocks.begin;
    const char* prefetch =
        last || turn >= tiles_to_fetch ? nullptr : b + p.panel_bytes + turn * g.k * kPrefetchBytesPerStep;
    p.unit.tile({p.rounded + block * p.block_elements, b, g.k, sums, static_cast<int>(rows.size()), prefetch});
    store_tile(p.kernels.gemm, g.epilogue, g.n, 0, rows.begin, static_cast<int>(rows.size()), panel, sums,
               p.kernels.gemm.nr);
  }
}

void compute_part(const RoundedProduct& p, Range blocks, Range panels) {
  const int64_t block_bytes = p.block_elements * static_cast<int64_t>(sizeof(uint16_t));
  const int64_t fitting = std::max<int64_t>(kResidentBytes / std::max<int64_t>(block_bytes, 1), 1);
  const int64_t groups = ceil_div(blocks.size(), fitting);
  for (int64_t i = 0; i < groups; ++i) {
    const Range group = even_part(blocks.size(), i, groups);
    for (int64_t panel = panels.begin; panel < panels.end; ++panel)
      compute_panel(p, {blocks.begin + group.begin, blocks.begin + group.end}, panel, panel + 1 == panels.end);
  }
}

}  // namespace

const GemmBf16Kernels* bf16_unit(const CpuFeatures& features, bool tiles) {
  if (tiles) return features.amx_bf16 && request_tiles() ? &avx512::gemm_amx() : nullptr;
  return features.avx512_bf16 ? &kernel_table(Isa::avx512).gemm_bf16 : nullptr;
}

const GemmBf16Kernels* fast_bf16_unit(const CpuFeatures& features, Isa isa) {
  if (isa != Isa::avx512) return nullptr;
  if (const GemmBf16Kernels* tiles = bf16_unit(features, true)) return tiles;
  const GemmBf16Kernels* dots = bf16_unit(features, false);
  return dots != nullptr && beats_f32(*dots, kernel_table(isa).gemm) ? dots : nullptr;
}

int64_t gemm_bf16_workspace_bytes(const GemmBf16Kernels& unit, int64_t m, int64_t k) {
  return ceil_div(m, unit.max_rows) * unit.block_elements(k) * static_cast<int64_t>(sizeof(uint16_t));
}

void gemm_bf16(ThreadTeam& team, const KernelTable& kernels, const GemmBf16Kernels& unit, const Gemm& g,
               void* workspace) {
  if (g.m <= 0 || g.n <= 0) return;
  auto* rounded = static_cast<uint16_t*>(workspace);
  const RoundedProduct p{kernels,
                         unit,
                         g,
                         rounded,
                         ceil_div(g.m, unit.max_rows),
                         unit.block_elements(g.k),
                         packed_b_bytes(PanelType::bf16, kernels.gemm.nr, g.k, kernels.gemm.nr)};
  team.parallel_for(p.blocks, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = begin; block < end; ++block) {
      const Range rows = even_part(g.m, block, p.blocks);
      unit.round(g.a + rows.begin * g.lda, g.lda, static_cast<int>(rows.size()), g.k,
                 rounded + block * p.block_elements);
    }
  });
  const int64_t panels = panel_count(kernels.gemm.nr, g.n);
  const GemmSplit split = choose_split(team.size(), g.m, panels, unit.max_rows);
  team.parallel_for(split.panels * split.rows, [&](int64_t begin, int64_t end, int) {
    if (unit.begin != nullptr) unit.begin();
    for (int64_t part = begin; part < end; ++part)
      compute_part(p, even_part(p.blocks, part % split.rows, split.rows),
                   even_part(panels, part / split.rows, split.panels));
    if (unit.end != nullptr) unit.end();
  });
}

}  // namespace lathe::cpu
