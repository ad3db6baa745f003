// Decides how products of bytes use the eight tile registers: as products of bf16 do (gemm_amx_kernels.cc). Sums of
// rows that were rounded to bytes become floats after each step, between the products of the next.
#include "backends/cpu/kernels/amx_int8_kernels.h"

#include "backends/cpu/kernels/amx_tiles.h"
#include "backends/cpu/kernels/dot_int8.h"
#include "backends/cpu/kernels/nbits_parameters.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

constexpr int64_t kOctet = 8, kOctetBytes = kOctet * kTilePanel;
static_assert(kAmxLeastRows == kTileRows && kAmxRows == 2 * kTileRows && kAmxDepth == kTileRowBytes);

// Touches the next bytes of what a later call needs.
inline void fetch(const char*& prefetch, int64_t bytes) {
  if (prefetch == nullptr) return;
  for (int64_t line = 0; line < bytes; line += kTileRowBytes) __builtin_prefetch(prefetch + line, 0, 2);
  prefetch += bytes;
}

// What is left of rows and panel, less than a tile deep: neither is read beyond its end.
template <bool both>
LATHE_TARGET_AMX void add_rest(const uint8_t* a, const uint8_t* second, int64_t lda, int64_t k, const int8_t* panel) {
  alignas(64) uint8_t rows[2 * kTileBytes] = {};
  alignas(64) int8_t columns[kTilePanelStep] = {};
  for (int i = 0; i < kTileRows; ++i) {
    __builtin_memcpy(rows + i * kTileRowBytes, a + i * lda, static_cast<size_t>(k));
    if constexpr (both)
      __builtin_memcpy(rows + kTileBytes + i * kTileRowBytes, second + i * lda, static_cast<size_t>(k));
  }
  __builtin_memcpy(columns, panel, static_cast<size_t>(k / kQuad * kTilePanelRow));
  LATHE_TILE_STEP("tdpbusd", both, rows, rows + kTileBytes, kTileRowBytes, columns);
}

// The second sixteen rows end where the block ends, so that they may overlap the first, and no row beyond is read.
template <bool both>
LATHE_TARGET_AMX void multiply(const AmxProduct& p) {
  zero_sums<both>();
  const uint8_t *a = p.a, *second = p.a + (p.rows - kTileRows) * p.lda;
  const int8_t* b = p.panel;
  const char* prefetch = p.prefetch;
  const int64_t lda = p.lda;
  int64_t k = p.k;
  for (; k >= kAmxDepth; k -= kAmxDepth, a += kAmxDepth, second += kAmxDepth, b += kTilePanelStep) {
    LATHE_TILE_STEP("tdpbusd", both, a, second, lda, b);
    fetch(prefetch, p.prefetch_step);
  }
  if (k > 0) add_rest<both>(a, second, lda, k, b);
  store_sums<both>(p.out, kTilePanelRow, p.rows - kTileRows);
}

void product(const AmxProduct& p) noexcept { p.rows > kTileRows ? multiply<true>(p) : multiply<false>(p); }

// The sums of a step, and what makes them floats.
struct StepSums {
  alignas(64) int32_t sums[kAmxRows * kTilePanel];
  int64_t block;
  const float* scales;
  const int32_t* row_sums;
};

// out += the step's sums of some rows times their scales; the same operations in the same order as with dot products.
void add_step(const NBitsPanel& p, const StepSums& step, int64_t begin, int64_t end, float* out) {
  const Parameters parameters(p, step.block);
  const bool with_zeros = p.zeros != nullptr;
  for (int64_t r = begin; r < end; ++r) {
    const Vec scale = splat(step.scales[r]), sum = splat(static_cast<float>(step.row_sums[r]));
    const IVec start = splat_int(with_zeros ? 0 : step.row_sums[r]);
    LATHE_UNROLL
    for (int v = 0; v < kNBitsVecs; ++v) {
      float* to = out + r * kTilePanel + v * kVecWidth;
      Vec product = to_float(load_int(step.sums + r * kTilePanel + v * kVecWidth, kVecWidth) + start);
      if (with_zeros) product = fnma(parameters.zeros[v], sum, product);
      store(to, fma(product, scale * parameters.scales[v], load(to)));
    }
  }
}

template <bool both>
LATHE_TARGET_AMX void multiply_rounded(const NBitsPanel& p, const AmxNBitsTile& t) {
  for (int64_t i = 0; i < t.rows * kTilePanel; i += kVecWidth) store(t.out + i, zero());
  StepSums steps[2];
  int64_t index = 0;
  const int8_t* a = t.a;
  const uint8_t* w = p.weights;
  const char* prefetch = t.prefetch;
  for_each_step(p.shape, [&](int64_t block, int64_t, int64_t terms) LATHE_TARGET_AMX {
    StepSums &step = steps[index % 2], &before = steps[1 - index % 2];
    int64_t added = index > 0 ? 0 : t.rows;  // rows of the step before
    step.block = block;
    step.scales = t.scales + index * kAmxRows;
    step.row_sums = t.sums + index * kAmxRows;
    zero_sums<both>();
    const uint8_t* b = w;
    for (int64_t term = 0; term < terms; term += kAmxDepth, a += 2 * kTileBytes, b += kTilePanelStep) {
      LATHE_TILE_STEP("tdpbsud", both, a, a + kTileBytes, kTileRowBytes, b);
      fetch(prefetch, t.prefetch_step);
      const int64_t due = term + kAmxDepth >= terms ? t.rows : t.rows * (term + kAmxDepth) / terms;
      if (added < due) add_step(p, before, added, due, t.out);
      added = due > added ? due : added;
    }
    store_sums<both>(step.sums, kTilePanelRow, kTileRows);
    w += (terms + kOctet - 1) / kOctet * kOctetBytes;
    ++index;
  });
  if (index > 0) add_step(p, steps[(index - 1) % 2], 0, t.rows, t.out);
}

void rounded(const NBitsPanel& p, const AmxNBitsTile& t) noexcept {
  t.rows > kTileRows ? multiply_rounded<true>(p, t) : multiply_rounded<false>(p, t);
}

void unpack(const uint8_t* nibbles, int64_t octets, uint8_t* bytes) noexcept {
  constexpr int64_t kVecBytes = 4 * kVecWidth, kHalf = kOctetBytes / 2;
  const IVec low = splat_int(0x0f0f0f0f);
  for (int64_t octet = 0; octet < octets; ++octet, nibbles += kHalf, bytes += kOctetBytes) {
    for (int64_t i = 0; i < kHalf; i += kVecBytes) {
      const IVec both = load_int(reinterpret_cast<const int32_t*>(nibbles + i), kVecWidth);
      store_int(reinterpret_cast<int32_t*>(bytes + i), both & low, kVecWidth);
      store_int(reinterpret_cast<int32_t*>(bytes + kHalf + i), shift_right<4>(both) & low, kVecWidth);
    }
  }
}

constexpr AmxInt8Kernels kKernels = {begin_tiles, end_tiles, product, rounded, unpack};

}  // namespace

const AmxInt8Kernels& amx_int8() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
