// Products of bf16 in matrix tiles (AMX). A block of 32 rows times a panel of 32 columns takes all eight tile
// registers: four of sums, two of rows and two of columns.
//
// A block is stored as [row / 16][k / 32][16][32], padded with zeros along k, so that each tile is 1 KB in a row: rows
// that lie kilobytes apart would fight over the same lines of the cache.
#include "backends/cpu/kernels/amx_tiles.h"
#include "backends/cpu/kernels/gemm_bf16_kernels.h"
#include "backends/cpu/kernels/round_bf16.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

constexpr int kTileK = 32;                        // of k in one product
constexpr int64_t kRowTile = kTileRows * kTileK;  // elements
constexpr int64_t kLine = 64, kAhead = 4 * kTilePanelStep;

int64_t steps_of(int64_t k) { return (k + kTileK - 1) / kTileK; }

int64_t block_elements(int64_t k) { return 2 * steps_of(k) * kRowTile; }

LATHE_TARGET_BF16 void round(const float* a, int64_t lda, int rows, int64_t k, uint16_t* block) noexcept {
  for (int i = 0; i < rows; ++i) {
    uint16_t* row = block + i / kTileRows * steps_of(k) * kRowTile + i % kTileRows * kTileK;
    for (int64_t at = 0; at < k; at += kTileK, row += kRowTile) {
      const int64_t n = k - at < kTileK ? k - at : kTileK;
      for (int64_t j = n; j < kTileK; ++j) row[j] = 0;
      round_to_bf16(a + i * lda + at, n, row);
    }
  }
}

template <bool both>
LATHE_TARGET_AMX void tile(const GemmBf16Tile& t) {
  zero_sums<both>();
  const int64_t second_rows = steps_of(t.k) * kRowTile;
  const uint16_t* a = t.block;
  const char *b = static_cast<const char*>(t.panel), *prefetch = t.prefetch, *const end = prefetch + t.prefetch_bytes;
  const int64_t steps = steps_of(t.k);
  const int64_t lines = steps == 0 ? 0 : (t.prefetch_bytes + steps * kLine - 1) / (steps * kLine);
  int64_t k = t.k, done = 0;
  for (; k >= kTileK; k -= kTileK, a += kRowTile, b += kTilePanelStep) {
    LATHE_TILE_STEP("tdpbf16ps", both, a, a + second_rows, kTileRowBytes, b);
    if (prefetch < end) {
      for (int64_t line = 0; line < lines; ++line, prefetch += kLine) __builtin_prefetch(prefetch, 0, 2);
    } else if constexpr (!both) {
      for (int64_t line = 0; line < kTilePanelStep; line += kLine) __builtin_prefetch(b + kAhead + line);
    }
    if (t.between != nullptr) t.between(t.context, ++done, steps);
  }
  if (k > 0) {  // the panel ends here, and what lies behind it need not be finite
    alignas(64) char last[kTilePanelStep] = {};
    __builtin_memcpy(last, b, static_cast<size_t>((k + 1) / 2 * kTilePanelRow));
    LATHE_TILE_STEP("tdpbf16ps", both, a, a + second_rows, kTileRowBytes, last);
  }
  store_sums<both>(t.out, t.ldo * int64_t{sizeof(float)}, kTileRows);
}

void tile_of(const GemmBf16Tile& t) noexcept { t.rows > kTileRows ? tile<true>(t) : tile<false>(t); }

constexpr GemmBf16Kernels kKernels = {2 * kTileRows, block_elements, round,       pack_bf16_panel,
                                      tile_of,       true,           begin_tiles, end_tiles};

}  // namespace

const GemmBf16Kernels& gemm_amx() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
