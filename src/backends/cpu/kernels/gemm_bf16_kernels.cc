// Dot products of pairs. vdpbf16ps is written in assembly for the reason that dot_int8.h gives for vpdpbusd.
#include "backends/cpu/kernels/gemm_bf16_kernels.h"

#include "backends/cpu/kernels/vec.h"

#if defined(__AVX512F__)
#include "backends/cpu/kernels/round_bf16.h"
#endif

namespace lathe::cpu::LATHE_ISA {
namespace {

#if defined(__AVX512F__)

constexpr int kVecs = 2, kPanel = kVecs * kVecWidth, kMaxRows = 14;
constexpr int64_t kPairBytes = kPanel * sizeof(int32_t), kLine = 64;
constexpr int64_t kAhead = 4096;  // bytes of the panel between what is read and what is fetched
constexpr int kFewRows = 8;       // so few that memory may be slower than arithmetic

int64_t pairs_of(int64_t k) { return (k + 1) / 2; }

int64_t block_elements(int64_t k) { return kMaxRows * 2 * pairs_of(k); }

// [rows][2 * pairs]
LATHE_TARGET_BF16 void round(const float* a, int64_t lda, int rows, int64_t k, uint16_t* block) noexcept {
  for (int i = 0; i < rows; ++i, a += lda, block += 2 * pairs_of(k)) {
    round_to_bf16(a, k, block);
    if (k % 2 != 0) block[k] = 0;
  }
}

LATHE_TARGET_BF16 inline void add_products(Vec& sum, Vec a, Vec b) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
}

// One pair of k for all rows of the tile.
template <int rows>
LATHE_TARGET_BF16 inline void multiply_add(Vec (&sums)[rows][kVecs], const uint16_t* a, int64_t lda, const char* b) {
  Vec columns[kVecs];
  LATHE_UNROLL
  for (int j = 0; j < kVecs; ++j) columns[j] = load(reinterpret_cast<const float*>(b) + j * kVecWidth);
  LATHE_UNROLL
  for (int i = 0; i < rows; ++i) {
    float pair;
    __builtin_memcpy(&pair, a + i * lda, sizeof(pair));
    const Vec value = splat(pair);
    LATHE_UNROLL
    for (int j = 0; j < kVecs; ++j) add_products(sums[i][j], value, columns[j]);
  }
}

template <int rows>
LATHE_TARGET_BF16 void tile(const GemmBf16Tile& t) noexcept {
  constexpr int kSets = rows * kVecs <= 8 ? 2 : 1;  // few sums are few chains of additions
  Vec sums[kSets][rows][kVecs];
  LATHE_UNROLL
  for (int set = 0; set < kSets; ++set) {
    LATHE_UNROLL
    for (int i = 0; i < rows; ++i) {
      LATHE_UNROLL
      for (int j = 0; j < kVecs; ++j) sums[set][i][j] = zero();
    }
  }
  const int64_t pairs = pairs_of(t.k), lda = 2 * pairs;
  const uint16_t* a = t.block;
  const char *b = static_cast<const char*>(t.panel), *prefetch = t.prefetch, *const end = prefetch + t.prefetch_bytes;
  int64_t pair = 0;
  for (; pair + 2 <= pairs; pair += 2, a += 4, b += 2 * kPairBytes) {
    if constexpr (rows <= kFewRows) {
      LATHE_UNROLL
      for (int64_t line = 0; line < 2 * kPairBytes; line += kLine) __builtin_prefetch(b + kAhead + line);
    } else if (prefetch < end) {
      __builtin_prefetch(prefetch, 0, 2);
      prefetch += kLine;
    }
    multiply_add(sums[0], a, lda, b);
    multiply_add(sums[kSets - 1], a + 2, lda, b + kPairBytes);
  }
  if (pair < pairs) multiply_add(sums[0], a, lda, b);
  LATHE_UNROLL
  for (int i = 0; i < rows; ++i) {
    LATHE_UNROLL
    for (int j = 0; j < kVecs; ++j) {
      Vec sum = sums[0][i][j];
      if constexpr (kSets == 2) sum = sum + sums[1][i][j];
      store(t.out + i * t.ldo + j * kVecWidth, sum);
    }
  }
}

constexpr void (*kTiles[kMaxRows])(const GemmBf16Tile&) noexcept = {tile<1>,  tile<2>,  tile<3>,  tile<4>, tile<5>,
                                                                    tile<6>,  tile<7>,  tile<8>,  tile<9>, tile<10>,
                                                                    tile<11>, tile<12>, tile<13>, tile<14>};

void tile_of(const GemmBf16Tile& t) noexcept { kTiles[t.rows - 1](t); }

constexpr GemmBf16Kernels kKernels = {kMaxRows, block_elements, round,   pack_bf16_panel,
                                      tile_of,  false,          nullptr, nullptr};

#else

constexpr GemmBf16Kernels kKernels = {};

#endif

}  // namespace

const GemmBf16Kernels& gemm_bf16() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
