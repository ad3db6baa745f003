#include "backends/cpu/kernels/gemm_narrow_kernels.h"

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

// All sums of a tile and one vector of each row and column fit the registers.
constexpr int kMaxColumns = kVecWidth == 16 ? 4 : 2;
static_assert(kMaxColumns <= kDotMaxColumns);

template <class T, int rows, int columns>
inline void multiply_add(Vec (&sums)[rows][columns], const DotTile& t, int64_t k, int lanes) {
  Vec b[columns];
  LATHE_UNROLL
  for (int j = 0; j < columns; ++j) b[j] = load_lanes(static_cast<const T*>(t.b) + j * t.ldb + k, lanes);
  LATHE_UNROLL
  for (int i = 0; i < rows; ++i) {
    const Vec a = load_lanes(t.a + i * t.lda + k, lanes);
    LATHE_UNROLL
    for (int j = 0; j < columns; ++j) sums[i][j] = fma(a, b[j], sums[i][j]);
  }
}

template <class T, int rows, int columns>
void tile(const DotTile& t) noexcept {
  // Few sums are few chains of additions; more sets of them keep the multipliers busy.
  constexpr int kSets = rows * columns <= 2 ? 4 : rows * columns <= 4 ? 2 : 1;
  Vec sums[kSets][rows][columns];
  LATHE_UNROLL
  for (int s = 0; s < kSets; ++s) {
    LATHE_UNROLL
    for (int i = 0; i < rows; ++i) {
      LATHE_UNROLL
      for (int j = 0; j < columns; ++j) sums[s][i][j] = zero();
    }
  }
  int64_t k = 0;
  for (; k + kSets * kVecWidth <= t.k; k += kSets * kVecWidth) {
    LATHE_UNROLL
    for (int s = 0; s < kSets; ++s) multiply_add<T, rows, columns>(sums[s], t, k + s * kVecWidth, kVecWidth);
  }
  for_each_vec(k, t.k, [&](int64_t i, int lanes) { multiply_add<T, rows, columns>(sums[0], t, i, lanes); });
  LATHE_UNROLL
  for (int i = 0; i < rows; ++i) {
    LATHE_UNROLL
    for (int j = 0; j < columns; ++j) {
      Vec sum = sums[0][i][j];
      LATHE_UNROLL
      for (int s = 1; s < kSets; ++s) sum = sum + sums[s][i][j];
      t.out[i * t.ldo + j] = sum_lanes(sum);
    }
  }
}

template <class T, int rows, int columns>
constexpr auto tile_or_null() -> void (*)(const DotTile&) noexcept {
  if constexpr (columns <= kMaxColumns) return tile<T, rows, columns>;
  return nullptr;
}

#define LATHE_ROW(T, rows) \
  { tile_or_null<T, rows, 1>(), tile_or_null<T, rows, 2>(), tile_or_null<T, rows, 3>(), tile_or_null<T, rows, 4>() }
#define LATHE_TILES(T) \
  { LATHE_ROW(T, 1), LATHE_ROW(T, 2), LATHE_ROW(T, 3), LATHE_ROW(T, 4) }
constexpr GemmNarrowKernels kKernels = {kMaxColumns, {LATHE_TILES(float), LATHE_TILES(Half), LATHE_TILES(BFloat16)}};
#undef LATHE_TILES
#undef LATHE_ROW

}  // namespace

const GemmNarrowKernels& gemm_narrow() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
