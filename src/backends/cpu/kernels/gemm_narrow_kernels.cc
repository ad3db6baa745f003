#include "backends/cpu/kernels/gemm_narrow_kernels.h"

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

// All sums of a tile and one vector of each row and column fit the registers.
constexpr int kMaxColumns = kVecWidth == 16 ? 4 : 2;
static_assert(kMaxColumns <= kDotMaxColumns);

template <int rows, int columns>
inline void multiply_add(Vec (&sums)[rows][columns], const DotTile& t, int64_t k, int lanes) {
  Vec b[columns];
  LATHE_UNROLL
  for (int j = 0; j < columns; ++j) b[j] = load_lanes(t.b + j * t.ldb + k, lanes);
  LATHE_UNROLL
  for (int i = 0; i < rows; ++i) {
    const Vec a = load_lanes(t.a + i * t.lda + k, lanes);
    LATHE_UNROLL
    for (int j = 0; j < columns; ++j) sums[i][j] = fma(a, b[j], sums[i][j]);
  }
}

template <int rows, int columns>
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
    for (int s = 0; s < kSets; ++s) multiply_add<rows, columns>(sums[s], t, k + s * kVecWidth, kVecWidth);
  }
  for_each_vec(k, t.k, [&](int64_t i, int lanes) { multiply_add<rows, columns>(sums[0], t, i, lanes); });
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

template <int rows, int columns>
constexpr auto tile_or_null() -> void (*)(const DotTile&) noexcept {
  if constexpr (columns <= kMaxColumns) return tile<rows, columns>;
  return nullptr;
}

constexpr GemmNarrowKernels kKernels = {
    kMaxColumns,
    {{tile_or_null<1, 1>(), tile_or_null<1, 2>(), tile_or_null<1, 3>(), tile_or_null<1, 4>()},
     {tile_or_null<2, 1>(), tile_or_null<2, 2>(), tile_or_null<2, 3>(), tile_or_null<2, 4>()},
     {tile_or_null<3, 1>(), tile_or_null<3, 2>(), tile_or_null<3, 3>(), tile_or_null<3, 4>()},
     {tile_or_null<4, 1>(), tile_or_null<4, 2>(), tile_or_null<4, 3>(), tile_or_null<4, 4>()}}};

}  // namespace

const GemmNarrowKernels& gemm_narrow() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
