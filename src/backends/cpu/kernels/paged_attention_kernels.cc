#include "backends/cpu/kernels/paged_attention_kernels.h"

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

constexpr int64_t kLine = 64;  // bytes

// Blocks of a cache lie anywhere, so the processor does not foresee the first lines of the next.
inline void fetch_row(const CachedRows& cached, int64_t row, int64_t row_bytes) {
  const char* next = static_cast<const char*>(cached.next) + row * row_bytes;
  for (int64_t at = 0; at < row_bytes; at += kLine) __builtin_prefetch(next + at);
}

// Each vector of a key is loaded once for all rows.
template <class T, int rows>
void dots(const CachedRows& keys, const float* q, float* scores, int64_t ld) noexcept {
  const int64_t width = keys.width;
  for (int64_t j = 0; j < keys.count; ++j) {
    const T* key = static_cast<const T*>(keys.rows) + j * width;
    fetch_row(keys, j, width * static_cast<int64_t>(sizeof(T)));
    Vec sums[rows];
    LATHE_UNROLL
    for (int r = 0; r < rows; ++r) sums[r] = zero();
    for_each_vec(0, width, [&](int64_t d, int lanes) {
      const Vec k = load_lanes(key + d, lanes);
      LATHE_UNROLL
      for (int r = 0; r < rows; ++r) sums[r] = fma(load_lanes(q + r * width + d, lanes), k, sums[r]);
    });
    LATHE_UNROLL
    for (int r = 0; r < rows; ++r) scores[r * ld + j] = sum_lanes(sums[r]);
  }
}

// `vecs` vectors of the columns from d on, the last of `lanes` lanes.
template <class T, int rows, int vecs>
inline void weigh_columns(const CachedRows& values, const float* weights, int64_t ld, float* sums, int64_t ld_sums,
                          int64_t d, int lanes) {
  Vec acc[rows][vecs];
  const auto lanes_of = [&](int c) { return c + 1 < vecs ? kVecWidth : lanes; };
  LATHE_UNROLL
  for (int r = 0; r < rows; ++r) {
    LATHE_UNROLL
    for (int c = 0; c < vecs; ++c) acc[r][c] = load_lanes(sums + r * ld_sums + d + c * kVecWidth, lanes_of(c));
  }
  const T* row = static_cast<const T*>(values.rows) + d;
  for (int64_t j = 0; j < values.count; ++j, row += values.width) {
    if (d == 0) fetch_row(values, j, values.width * static_cast<int64_t>(sizeof(T)));
    Vec v[vecs];
    LATHE_UNROLL
    for (int c = 0; c < vecs; ++c) v[c] = load_lanes(row + c * kVecWidth, lanes_of(c));
    LATHE_UNROLL
    for (int r = 0; r < rows; ++r) {
      const Vec weight = splat(weights[r * ld + j]);
      LATHE_UNROLL
      for (int c = 0; c < vecs; ++c) acc[r][c] = fma(weight, v[c], acc[r][c]);
    }
  }
  LATHE_UNROLL
  for (int r = 0; r < rows; ++r) {
    LATHE_UNROLL
    for (int c = 0; c < vecs; ++c) store_lanes(sums + r * ld_sums + d + c * kVecWidth, acc[r][c], lanes_of(c));
  }
}

template <class T, int rows>
void weigh(const CachedRows& values, const float* weights, int64_t ld, float* sums, int64_t ld_sums) noexcept {
  // As many sums as have registers beside what is added to them: few of them would wait for each other.
  constexpr int kVecs = rows <= 2 ? 4 : (rows <= 4 || kVecWidth == 16 ? 2 : 1);
  int64_t d = 0;
  for (; d + kVecs * kVecWidth <= values.width; d += kVecs * kVecWidth)
    weigh_columns<T, rows, kVecs>(values, weights, ld, sums, ld_sums, d, kVecWidth);
  for_each_vec(d, values.width, [&](int64_t at, int lanes) {
    weigh_columns<T, rows, 1>(values, weights, ld, sums, ld_sums, at, lanes);
  });
}

void add_slope(float* scores, int64_t n, float slope, float first) noexcept {
  for (int64_t i = 0; i < n; ++i) scores[i] += slope * (first + static_cast<float>(i));
}

template <class T>
constexpr CachedRowKernels row_kernels() {
  static_assert(kPagedMaxRows == 8);
  return {{nullptr, dots<T, 1>, dots<T, 2>, dots<T, 3>, dots<T, 4>, dots<T, 5>, dots<T, 6>, dots<T, 7>, dots<T, 8>},
          {nullptr, weigh<T, 1>, weigh<T, 2>, weigh<T, 3>, weigh<T, 4>, weigh<T, 5>, weigh<T, 6>, weigh<T, 7>,
           weigh<T, 8>}};
}

constexpr PagedAttentionKernels kKernels = {row_kernels<float>(), row_kernels<Half>(), row_kernels<BFloat16>(),
                                            add_slope};

}  // namespace

const PagedAttentionKernels& paged_attention() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
