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
  const int64_t narrow = shortest([&] { unit.tile({block.data(), b.data(), kDepth, sums.data(), kMaxPanel, rows}); });
  return static_cast<double>(wide) > kClearly * static_cast<double>(narrow);
}

// A product whose rows have been rounded: blocks of rows, all of the same number of elements.
struct RoundedProduct {
  const KernelTable& kernels;
  const GemmBf16Kernels& unit;
  const Gemm& g;
  const uint16_t* rounded;
  int64_t blocks, block_elements, panel_bytes;
};

// Computes blocks one after the other. A unit that works on its own meanwhile gets the sums of the block before stored
// between the steps of the next.
class BlockPass {
 public:
  explicit BlockPass(const RoundedProduct& product) : p_(product) {}
  ~BlockPass() { store_rows(kMaxBf16Rows); }
  BlockPass(const BlockPass&) = delete;
  BlockPass& operator=(const BlockPass&) = delete;

  void compute(int64_t block, int64_t panel, const char* b, const char* prefetch, int64_t prefetch_bytes) {
    float* sums = sums_[turn_];
    turn_ = 1 - turn_;
    const Range rows = even_part(p_.g.m, block, p_.blocks);
    p_.unit.tile({p_.rounded + block * p_.block_elements, b, p_.g.k, sums, p_.kernels.gemm.nr,
                  static_cast<int>(rows.size()), prefetch, prefetch_bytes, store_slice, this});
    store_rows(kMaxBf16Rows);
    waiting_ = {rows.begin, rows.size(), panel, sums};
    stored_ = 0;
    if (!p_.unit.calls_between) store_rows(kMaxBf16Rows);
  }

 private:
  struct Sums {
    int64_t row = 0, rows = 0, panel = 0;
    const float* sums = nullptr;
  };

  static void store_slice(void* context, int64_t done, int64_t steps) noexcept {
    constexpr int64_t kLeastRows = 8;  // fewer are not worth a call
    auto& pass = *static_cast<BlockPass*>(context);
    const int64_t due = pass.waiting_.rows * done / steps;
    if (due - pass.stored_ >= kLeastRows) pass.store_rows(due);
  }

  // Rows of the sums that wait, up to `end`.
  void store_rows(int64_t end) {
    end = std::min(end, waiting_.rows);
    if (end <= stored_) return;
    const int64_t nr = p_.kernels.gemm.nr;
    store_tile(p_.kernels.gemm, p_.g.epilogue, p_.g.n, 0, waiting_.row + stored_, static_cast<int>(end - stored_),
               waiting_.panel, waiting_.sums + stored_ * nr, nr);
    stored_ = end;
  }

  const RoundedProduct& p_;
  alignas(64) float sums_[2][kMaxBf16Rows * kMaxPanel];
  int turn_ = 0;
  Sums waiting_;
  int64_t stored_ = 0;  // of its rows
};

void compute_part(const RoundedProduct& p, Range blocks, Range panels) {
  const int64_t block_bytes = p.block_elements * static_cast<int64_t>(sizeof(uint16_t));
  const int64_t fitting = std::max<int64_t>(kResidentBytes / std::max<int64_t>(block_bytes, 1), 1);
  const int64_t groups = ceil_div(blocks.size(), fitting);
  BlockPass pass(p);
  for (int64_t i = 0; i < groups; ++i) {
    const Range group = even_part(blocks.size(), i, groups);
    for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
      const char* b = static_cast<const char*>(p.g.packed_b) + panel * p.panel_bytes;
      const int64_t next_bytes = panel + 1 < panels.end ? p.panel_bytes : 0;
      for (int64_t turn = 0; turn < group.size(); ++turn) {
        const Range share = even_part(next_bytes, turn, group.size());
        pass.compute(blocks.begin + group.begin + turn, panel, b, b + p.panel_bytes + share.begin, share.size());
      }
    }
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
