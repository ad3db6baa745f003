#include "backends/cpu/kernels/gemm_stream_kernels.h"

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

constexpr int kVecs = 2;
constexpr int kPanel = kVecs * kVecWidth;
constexpr int kMaxRows = kVecWidth == 16 ? 8 : 4;  // sums and two rows of weights fit the registers
static_assert(kMaxRows <= kStreamMaxRows);
constexpr int64_t kAhead = 4096;  // bytes between what is read and what is fetched
constexpr int64_t kLine = 64;

// Two consecutive rows of a panel, widened.
struct RowPair {
  Vec even[kVecs], odd[kVecs];
};

template <PanelType type>
struct Panel;

template <class T>
struct PlainPanel {
  static constexpr int64_t kPairBytes = 2 * kPanel * sizeof(T);
  static RowPair load_pair(const void* p) {
    const T* row = static_cast<const T*>(p);
    RowPair pair;
    LATHE_UNROLL
    for (int j = 0; j < kVecs; ++j) {
      pair.even[j] = load(row + j * kVecWidth);
      pair.odd[j] = load(row + kPanel + j * kVecWidth);
    }
    return pair;
  }
  static void load_last(const void* p, Vec (&row)[kVecs]) {
    LATHE_UNROLL
    for (int j = 0; j < kVecs; ++j) row[j] = load(static_cast<const T*>(p) + j * kVecWidth);
  }
};
template <>
struct Panel<PanelType::f32> : PlainPanel<float> {};
template <>
struct Panel<PanelType::f16> : PlainPanel<Half> {};
template <>
struct Panel<PanelType::bf16> {
  static constexpr int64_t kPairBytes = 2 * kPanel * 2;
  static RowPair load_pair(const void* p) {
    RowPair pair;
    LATHE_UNROLL
    for (int j = 0; j < kVecs; ++j) {
      const IVec both = as_int(load(static_cast<const float*>(p) + j * kVecWidth));
      pair.even[j] = as_float(shift_left<16>(both));
      pair.odd[j] = as_float(both & splat_int(static_cast<int32_t>(0xffff0000u)));
    }
    return pair;
  }
  static void load_last(const void* p, Vec (&row)[kVecs]) {
    const RowPair pair = load_pair(p);
    LATHE_UNROLL
    for (int j = 0; j < kVecs; ++j) row[j] = pair.even[j];
  }
};

template <int rows>
inline void multiply_add(Vec (&sums)[rows][kVecs], const float* a, int64_t lda, const Vec (&b)[kVecs]) {
  LATHE_UNROLL
  for (int i = 0; i < rows; ++i) {
    const Vec value = splat(a[i * lda]);
    LATHE_UNROLL
    for (int j = 0; j < kVecs; ++j) sums[i][j] = fma(value, b[j], sums[i][j]);
  }
}

template <PanelType type, int rows, bool uniform>
void tile(const GemmStream& s) noexcept {
  using P = Panel<type>;
  constexpr int kSets = rows <= kMaxRows / 2 && !uniform ? 2 : 1;  // few sums are few chains of additions
  Vec sums[kSets][rows][kVecs];
  LATHE_UNROLL
  for (int set = 0; set < kSets; ++set) {
    LATHE_UNROLL
    for (int i = 0; i < rows; ++i) {
      LATHE_UNROLL
      for (int j = 0; j < kVecs; ++j) sums[set][i][j] = zero();
    }
  }
  const float* a = s.a;
  const char* b = static_cast<const char*>(s.panel);
  for (int64_t k = s.k / 2; k > 0; --k, a += 2, b += P::kPairBytes) {
    LATHE_UNROLL
    for (int64_t line = 0; line < P::kPairBytes; line += kLine) __builtin_prefetch(b + kAhead + line);
    const RowPair pair = P::load_pair(b);
    multiply_add(sums[0], a, s.lda, pair.even);
    multiply_add(sums[kSets - 1], a + 1, s.lda, pair.odd);
  }
  if (s.k % 2 != 0) {
    Vec row[kVecs];
    P::load_last(b, row);
    multiply_add(sums[0], a, s.lda, row);
  }
  LATHE_UNROLL
  for (int i = 0; i < rows; ++i) {
    LATHE_UNROLL
    for (int j = 0; j < kVecs; ++j) {
      Vec sum = sums[0][i][j];
      if constexpr (kSets == 2) sum = sum + sums[1][i][j];
      store(s.out + i * kPanel + j * kVecWidth, sum);
    }
  }
}

template <PanelType type>
void widen(const void* panel, int64_t k, float* out) noexcept {
  using P = Panel<type>;
  const char* b = static_cast<const char*>(panel);
  for (; k >= 2; k -= 2, b += P::kPairBytes, out += 2 * kPanel) {
    const RowPair pair = P::load_pair(b);
    LATHE_UNROLL
    for (int j = 0; j < kVecs; ++j) {
      store(out + j * kVecWidth, pair.even[j]);
      store(out + kPanel + j * kVecWidth, pair.odd[j]);
    }
  }
  if (k == 0) return;
  Vec row[kVecs];
  P::load_last(b, row);
  LATHE_UNROLL
  for (int j = 0; j < kVecs; ++j) store(out + j * kVecWidth, row[j]);
}

using TileKernel = void (*)(const GemmStream&) noexcept;
template <PanelType type, int rows, bool uniform>
constexpr TileKernel tile_or_null() {
  constexpr bool kDiffers = uniform && rows <= kMaxRows / 2;
  if constexpr (rows <= kMaxRows) return tile<type, rows, kDiffers>;
  return nullptr;
}

#define LATHE_TILES(type, uniform)                                                                                 \
  {                                                                                                                \
    nullptr, tile_or_null<type, 1, uniform>(), tile_or_null<type, 2, uniform>(), tile_or_null<type, 3, uniform>(), \
        tile_or_null<type, 4, uniform>(), tile_or_null<type, 5, uniform>(), tile_or_null<type, 6, uniform>(),      \
        tile_or_null<type, 7, uniform>(), tile_or_null<type, 8, uniform>()                                         \
  }
#define LATHE_TYPES(uniform) \
  { LATHE_TILES(PanelType::f32, uniform), LATHE_TILES(PanelType::f16, uniform), LATHE_TILES(PanelType::bf16, uniform) }
constexpr GemmStreamKernels kKernels = {kMaxRows,
                                        LATHE_TYPES(false),
                                        LATHE_TYPES(true),
                                        {widen<PanelType::f32>, widen<PanelType::f16>, widen<PanelType::bf16>}};
#undef LATHE_TYPES
#undef LATHE_TILES

}  // namespace

const GemmStreamKernels& gemm_stream() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
