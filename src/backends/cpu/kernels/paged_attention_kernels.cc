#include "backends/cpu/kernels/paged_attention_kernels.h"

#include "backends/cpu/kernels/bytes.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

struct Float8E4M3 {
  int8_t bits;
};

inline constexpr float kExponentShift = 0x1p120f;

// Lanes of a row, without its scale.
template <class T>
inline Vec load_cached(const T* p, int lanes) {
  return load_lanes(p, lanes);
}
inline Vec load_cached(const int8_t* p, int lanes) { return load_bytes(p, lanes); }
// Sign, exponent and mantissa go to their places; a multiplication puts the exponent right, subnormals included.
inline Vec load_cached(const Float8E4M3* p, int lanes) {
  const IVec bits = to_int(load_bytes(&p->bits, lanes));
  return as_float((bits & splat_int(INT32_MIN)) | shift_left<20>(bits & splat_int(0x7f))) * splat(kExponentShift);
}

template <class T>
inline constexpr float kLargest = 127;
template <>
inline constexpr float kLargest<Float8E4M3> = 448;

// Numbers that are not above kLargest; half to even.
inline IVec encode(const int8_t*, Vec x) { return to_int(x); }
inline IVec encode(const Float8E4M3*, Vec x) {
  const IVec bits = as_int(x * splat(1 / kExponentShift)), magnitude = bits & splat_int(INT32_MAX);
  const IVec even = shift_right<20>(magnitude) & splat_int(1);
  return shift_right<20>(magnitude + splat_int(0x7ffff) + even) | (shift_right<24>(bits) & splat_int(0x80));
}

template <class T>
float narrow(const float* from, int64_t n, void* to) noexcept {
  constexpr float kLeastScale = 1.17549435e-38f;
  Vec most = zero(), spoilt = zero();
  for_each_vec(0, n, [&](int64_t i, int lanes) {
    const Vec x = load_lanes(from + i, lanes);
    most = max(abs(x), most);
    spoilt = fma(x, zero(), spoilt);  // NaN where x is not finite
  });
  const float least = max_lanes(most) / kLargest<T>;
  const float scale = (least > kLeastScale ? least : kLeastScale) + sum_lanes(spoilt);
  for_each_vec(0, n, [&](int64_t i, int lanes) {
    store_bytes(static_cast<uint8_t*>(to) + i, encode(static_cast<T*>(to), load_lanes(from + i, lanes) / splat(scale)),
                lanes);
  });
  return scale;
}

template <class T>
void widen_row(const void* from, int64_t n, float* to) noexcept {
  for_each_vec(0, n, [&](int64_t i, int lanes) {
    store_lanes(to + i, load_cached(static_cast<const T*>(from) + i, lanes), lanes);
  });
}

void multiply(float* scores, const float* scales, int64_t n) noexcept {
  for_each_vec(0, n, [&](int64_t i, int lanes) {
    store_lanes(scores + i, load_lanes(scores + i, lanes) * load_lanes(scales + i, lanes), lanes);
  });
}

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
      const Vec k = load_cached(key + d, lanes);
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
    for (int c = 0; c < vecs; ++c) v[c] = load_cached(row + c * kVecWidth, lanes_of(c));
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

template <class T>
constexpr ScaledRowKernels scaled_row_kernels() {
  return {row_kernels<T>(), widen_row<T>, narrow<T>};
}

constexpr PagedAttentionKernels kKernels = {row_kernels<float>(),
                                            row_kernels<Half>(),
                                            row_kernels<BFloat16>(),
                                            scaled_row_kernels<int8_t>(),
                                            scaled_row_kernels<Float8E4M3>(),
                                            multiply,
                                            add_slope};

}  // namespace

const PagedAttentionKernels& paged_attention() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
