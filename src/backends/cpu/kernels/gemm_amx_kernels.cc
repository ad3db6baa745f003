// Products of bf16 in AMX tiles. A block of 32 rows times a panel of 32 columns takes all eight tile registers: four of
// sums, two of rows and two of columns. Tile instructions are written in assembly: the compiler's own configuration
// intrinsic does not tell it that all 64 bytes of the configuration are read (g++ 12), and nothing else of it is
// needed.
//
// A block is stored as [row / 16][k / 32][16][32], padded with zeros along k, so that each tile is 1 KB in a row: rows
// that lie kilobytes apart would fight over the same lines of the cache.
#include "backends/cpu/kernels/gemm_bf16_kernels.h"
#include "backends/cpu/kernels/round_bf16.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

#define LATHE_TARGET_AMX __attribute__((target("amx-tile,amx-bf16")))

constexpr int kTileRows = 16, kTileK = 32;               // of rows of a and of sums; of k in one product
constexpr int kPanel = 32, kMaxRows = 2 * kTileRows;     // two tiles either way
constexpr int64_t kRowTile = kTileRows * kTileK;         // elements
constexpr int64_t kPanelRow = kPanel * sizeof(int32_t);  // bytes of a pair of k
constexpr int64_t kPanelStep = kTileK / 2 * kPanelRow;   // bytes of kTileK rows of the panel
constexpr int64_t kSecondColumns = kPanelRow / 2;        // bytes from the first 16 columns to the others
constexpr int64_t kLine = 64, kAhead = 4 * kPanelStep;
constexpr int64_t kPrefetchPerStep = 16 * kTileK;  // bytes, as GemmTile::prefetch says

static_assert(kPanel == 2 * kVecWidth);

int64_t steps_of(int64_t k) { return (k + kTileK - 1) / kTileK; }

int64_t block_elements(int64_t k) { return 2 * steps_of(k) * kRowTile; }

void round(const float* a, int64_t lda, int rows, int64_t k, uint16_t* block) noexcept {
  for (int i = 0; i < rows; ++i) {
    uint16_t* row = block + i / kTileRows * steps_of(k) * kRowTile + i % kTileRows * kTileK;
    for (int64_t at = 0; at < k; at += kTileK, row += kRowTile) {
      const int64_t n = k - at < kTileK ? k - at : kTileK;
      for (int64_t j = n; j < kTileK; ++j) row[j] = 0;
      round_to_bf16(a + i * lda + at, n, row);
    }
  }
}

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

LATHE_TARGET_AMX void begin() noexcept {
  const TileConfig config;
  asm volatile("ldtilecfg %0" : : "m"(config));
}

LATHE_TARGET_AMX void end() noexcept { asm volatile("tilerelease"); }

// Loads a tile whose rows lie `stride` bytes apart.
#define LATHE_TILE_LOAD(tile, from, stride) \
  asm volatile("tileloadd (%0,%1,1), %%" tile : : "r"(from), "r"(static_cast<int64_t>(stride)) : "memory")
#define LATHE_TILE_STORE(tile, to, stride) \
  asm volatile("tilestored %%" tile ", (%0,%1,1)" : : "r"(to), "r"(static_cast<int64_t>(stride)) : "memory")
#define LATHE_TILE_PRODUCT(sum, a, b) asm volatile("tdpbf16ps %%" b ", %%" a ", %%" sum : :)
#define LATHE_TILE_ZERO(tile) asm volatile("tilezero %%" tile : :)

// sums += 16 or 32 rows by kTileK times kTileK by 32.
template <bool both>
LATHE_TARGET_AMX inline void multiply_add(const uint16_t* a, int64_t second_rows, const char* b) {
  LATHE_TILE_LOAD("tmm6", b, kPanelRow);
  LATHE_TILE_LOAD("tmm7", b + kSecondColumns, kPanelRow);
  LATHE_TILE_LOAD("tmm4", a, kTileK * sizeof(uint16_t));
  LATHE_TILE_PRODUCT("tmm0", "tmm4", "tmm6");
  LATHE_TILE_PRODUCT("tmm1", "tmm4", "tmm7");
  if constexpr (both) {
    LATHE_TILE_LOAD("tmm5", a + second_rows, kTileK * sizeof(uint16_t));
    LATHE_TILE_PRODUCT("tmm2", "tmm5", "tmm6");
    LATHE_TILE_PRODUCT("tmm3", "tmm5", "tmm7");
  }
}

template <bool both>
LATHE_TARGET_AMX void tile(const GemmBf16Tile& t) {
  LATHE_TILE_ZERO("tmm0");
  LATHE_TILE_ZERO("tmm1");
  if constexpr (both) {
    LATHE_TILE_ZERO("tmm2");
    LATHE_TILE_ZERO("tmm3");
  }
  const int64_t second_rows = steps_of(t.k) * kRowTile;
  const uint16_t* a = t.block;
  const char *b = static_cast<const char*>(t.panel), *prefetch = t.prefetch;
  int64_t k = t.k;
  for (; k >= kTileK; k -= kTileK, a += kRowTile, b += kPanelStep) {
    if (prefetch != nullptr) {
      for (int64_t line = 0; line < kPrefetchPerStep; line += kLine) __builtin_prefetch(prefetch + line, 0, 2);
      prefetch += kPrefetchPerStep;
    } else if constexpr (!both) {
      for (int64_t line = 0; line < kPanelStep; line += kLine) __builtin_prefetch(b + kAhead + line);
    }
    multiply_add<both>(a, second_rows, b);
  }
  if (k > 0) {  // the panel ends here, and what lies behind it need not be finite
    alignas(64) char last[kPanelStep] = {};
    __builtin_memcpy(last, b, static_cast<size_t>((k + 1) / 2 * kPanelRow));
    multiply_add<both>(a, second_rows, last);
  }
  LATHE_TILE_STORE("tmm0", t.out, kPanel * sizeof(float));
  LATHE_TILE_STORE("tmm1", t.out + kVecWidth, kPanel * sizeof(float));
  if constexpr (both) {
    LATHE_TILE_STORE("tmm2", t.out + kTileRows * kPanel, kPanel * sizeof(float));
    LATHE_TILE_STORE("tmm3", t.out + kTileRows * kPanel + kVecWidth, kPanel * sizeof(float));
  }
}

void tile_of(const GemmBf16Tile& t) noexcept { t.rows > kTileRows ? tile<true>(t) : tile<false>(t); }

constexpr GemmBf16Kernels kKernels = {kMaxRows, block_elements, round, tile_of, begin, end};

}  // namespace

const GemmBf16Kernels& gemm_amx() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
