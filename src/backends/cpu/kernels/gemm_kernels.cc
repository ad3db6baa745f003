#include "backends/cpu/kernels/gemm_kernels.h"

#include "backends/cpu/kernels/vec_math.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

// Two vectors per panel row; as many rows as leave registers for the two B vectors and one broadcast of A.
constexpr int kPanel = 2 * kVecWidth;
constexpr int kMaxRows = kVecWidth == 16 ? 14 : kVecWidth == 8 ? 6 : 5;
static_assert(kMaxRows <= kGemmMaxRows);

template <bool masked>
inline Vec load_columns(const float* p, int cols) {
  if constexpr (masked) return load_n(p, cols);
  return load(p);
}

// One step along k for all rows of the tile.
template <int rows, int vecs, bool masked>
inline void multiply_add(Vec (&acc)[rows][vecs], const float* a, int64_t lda, const float* b, int tail) {
  Vec columns[vecs];
  LATHE_UNROLL
  for (int j = 0; j < vecs; ++j) {
    columns[j] = j + 1 == vecs ? load_columns<masked>(b + j * kVecWidth, tail) : load(b + j * kVecWidth);
  }
  LATHE_UNROLL
  for (int i = 0; i < rows; ++i) {
    const Vec value = splat(a[i * lda]);
    LATHE_UNROLL
    for (int j = 0; j < vecs; ++j) acc[i][j] = fma(value, columns[j], acc[i][j]);
  }
}

template <int rows, int vecs, bool masked, bool uniform>
void tile(const GemmTile& t) noexcept {
  const int tail = t.cols - (vecs - 1) * kVecWidth;  // columns in the last vector
  // Few rows mean few independent sums; a second set of accumulators for odd k keeps the multipliers busy.
  constexpr int kSets = rows * vecs <= 6 && !uniform ? 2 : 1;
  Vec acc[kSets][rows][vecs];
  LATHE_UNROLL
  for (int i = 0; i < rows; ++i) {
    LATHE_UNROLL
    for (int j = 0; j < vecs; ++j) {
      const float* out = t.out + i * t.ldo + j * kVecWidth;
      acc[0][i][j] = zero();
      if (t.accumulate) acc[0][i][j] = j + 1 == vecs ? load_columns<masked>(out, tail) : load(out);
      if constexpr (kSets == 2) acc[1][i][j] = zero();
    }
  }
  const float *a = t.a, *b = t.b;
  const int64_t lda = t.lda, ldb = t.ldb;
  const char* prefetch = t.prefetch;
  int64_t k = t.k;
  for (; k >= 4; k -= 4) {
    if (prefetch != nullptr) {
      __builtin_prefetch(prefetch, 0, 2);
      prefetch += 64;
    }
    LATHE_UNROLL
    for (int u = 0; u < 4; ++u) multiply_add<rows, vecs, masked>(acc[u % kSets], a + u, lda, b + u * ldb, tail);
    a += 4;
    b += 4 * ldb;
  }
  for (; k > 0; --k, ++a, b += ldb) multiply_add<rows, vecs, masked>(acc[0], a, lda, b, tail);
  LATHE_UNROLL
  for (int i = 0; i < rows; ++i) {
    LATHE_UNROLL
    for (int j = 0; j < vecs; ++j) {
      float* out = t.out + i * t.ldo + j * kVecWidth;
      Vec sum = acc[0][i][j];
      if constexpr (kSets == 2) sum = sum + acc[1][i][j];
      if (masked && j + 1 == vecs) {
        store_n(out, sum, tail);
      } else {
        store(out, sum);
      }
    }
  }
}

template <int rows, bool uniform>
void tile_of(const GemmTile& t) noexcept {
  if (t.cols == kPanel) return tile<rows, 2, false, uniform>(t);
  if (t.cols > kVecWidth) return tile<rows, 2, true, uniform>(t);
  return tile<rows, 1, true, uniform>(t);
}

template <ActivationKind kind>
inline Vec finish_vec(const GemmFinish& f, Vec acc, Vec bias, Vec residual) {
  Vec v = fma(acc, splat(f.alpha), bias);
  if (f.residual_last) return activate<kind>(v, f.activation) + residual;
  return activate<kind>(v + residual, f.activation);
}

void finish(const GemmFinish& f) noexcept {
  with_activation(f.activation.kind, [&]<ActivationKind kind>() {
    for_each_vec(0, f.cols, [&](int64_t j, int lanes) {
      const Vec bias = f.bias != nullptr ? load_lanes(f.bias + j, lanes) : zero();
      for (int i = 0; i < f.rows; ++i) {
        const Vec acc = load_lanes(f.acc + i * f.ld_acc + j, lanes);
        const Vec residual = f.residual != nullptr ? load_lanes(f.residual + i * f.ld_residual + j, lanes) : zero();
        store_lanes(f.c + i * f.ldc + j, finish_vec<kind>(f, acc, bias, residual), lanes);
      }
    });
  });
}

// Columns of B contiguous along n: copied as they are.
void pack_rows(const float* b, int64_t stride_k, int64_t k, int cols, float* panel) {
  for (int64_t i = 0; i < k; ++i) {
    for (int j = 0; j < kPanel; j += kVecWidth) {
      const int n = cols - j < kVecWidth ? (cols > j ? cols - j : 0) : kVecWidth;
      store(panel + i * kPanel + j, load_n(b + i * stride_k + j, n));
    }
  }
}

// Columns of B contiguous along k: transposed in registers, a square of kVecWidth at a time.
void pack_columns(const float* b, int64_t stride_n, int64_t k, int cols, float* panel) {
  for (int j = 0; j < kPanel; j += kVecWidth) {
    for (int64_t i = 0; i < k; i += kVecWidth) {
      const int depth = k - i < kVecWidth ? static_cast<int>(k - i) : kVecWidth;
      Vec square[kVecWidth];
      LATHE_UNROLL
      for (int c = 0; c < kVecWidth; ++c) {
        square[c] = j + c < cols ? load_n(b + (j + c) * stride_n + i, depth) : zero();
      }
      transpose(square);
      for (int r = 0; r < depth; ++r) store(panel + (i + r) * kPanel + j, square[r]);
    }
  }
}

void pack_panel(const float* b, int64_t stride_k, int64_t stride_n, int64_t k, int cols, float* panel) noexcept {
  if (stride_n == 1) return pack_rows(b, stride_k, k, cols, panel);
  if (stride_k == 1) return pack_columns(b, stride_n, k, cols, panel);
  for (int64_t i = 0; i < k; ++i)
    for (int j = 0; j < kPanel; ++j) panel[i * kPanel + j] = j < cols ? b[i * stride_k + j * stride_n] : 0.0f;
}

template <int rows, bool uniform>
constexpr GemmTileKernel tile_or_null() {
  constexpr bool kDiffers = uniform && rows <= 6;  // others have one set of sums anyway
  if constexpr (rows <= kMaxRows) return tile_of<rows, kDiffers>;
  return nullptr;
}

#define LATHE_TILES(uniform)                                                                     \
  {                                                                                              \
    nullptr, tile_or_null<1, uniform>(), tile_or_null<2, uniform>(), tile_or_null<3, uniform>(), \
        tile_or_null<4, uniform>(), tile_or_null<5, uniform>(), tile_or_null<6, uniform>(),      \
        tile_or_null<7, uniform>(), tile_or_null<8, uniform>(), tile_or_null<9, uniform>(),      \
        tile_or_null<10, uniform>(), tile_or_null<11, uniform>(), tile_or_null<12, uniform>(),   \
        tile_or_null<13, uniform>(), tile_or_null<14, uniform>()                                 \
  }
constexpr GemmKernels kKernels = {kPanel, kMaxRows, LATHE_TILES(false), LATHE_TILES(true), finish, pack_panel};
#undef LATHE_TILES

}  // namespace

const GemmKernels& gemm() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
