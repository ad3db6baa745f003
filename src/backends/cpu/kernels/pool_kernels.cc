#include "backends/cpu/kernels/pool_kernels.h"

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

// `Step` has first(x, r), which starts the sum with the value of row r, next(sum, x, r) and last(sum).
template <class Step>
inline void combine(const float* const* rows, int64_t count, int64_t n, float* out, Step step) noexcept {
  constexpr int kTogether = 4;  // vectors in flight, to hide the latency of one chain
  int64_t i = 0;
  for (; i + kTogether * kVecWidth <= n; i += kTogether * kVecWidth) {
    Vec sum[kTogether];
#pragma GCC unroll 4
    for (int v = 0; v < kTogether; ++v) sum[v] = step.first(load(rows[0] + i + v * kVecWidth), 0);
    for (int64_t r = 1; r < count; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kTogether; ++v) sum[v] = step.next(sum[v], load(rows[r] + i + v * kVecWidth), r);
    }
#pragma GCC unroll 4
    for (int v = 0; v < kTogether; ++v) store(out + i + v * kVecWidth, step.last(sum[v]));
  }
  for (; i < n; i += kVecWidth) {
    const int lanes = n - i < kVecWidth ? static_cast<int>(n - i) : kVecWidth;
    Vec sum = step.first(load_n(rows[0] + i, lanes), 0);
    for (int64_t r = 1; r < count; ++r) sum = step.next(sum, load_n(rows[r] + i, lanes), r);
    store_n(out + i, step.last(sum), lanes);
  }
}

inline void store_zeros(int64_t n, float* out) noexcept {
  for (int64_t i = 0; i < n; ++i) out[i] = 0.0f;
}

struct Maximum {
  Vec first(Vec x, int64_t) const noexcept { return x; }
  // max gives its second operand for NaN: a NaN in x comes through there, one in `sum` by the selection.
  Vec next(Vec sum, Vec x, int64_t) const noexcept { return select(is_nan(sum), sum, max(sum, x)); }
  Vec last(Vec sum) const noexcept { return sum; }
};

struct Identity {
  Vec operator()(Vec x) const noexcept { return x; }
};
struct Absolute {
  Vec operator()(Vec x) const noexcept { return abs(x); }
};
struct Square {
  Vec operator()(Vec x) const noexcept { return x * x; }
};

template <class Map>
struct Sum {
  Vec scale;
  Vec first(Vec x, int64_t) const noexcept { return Map{}(x); }
  Vec next(Vec sum, Vec x, int64_t) const noexcept { return sum + Map{}(x); }
  Vec last(Vec sum) const noexcept { return sum * scale; }
};

struct Weighted {
  const float* weights;
  Vec first(Vec x, int64_t r) const noexcept { return x * splat(weights[r]); }
  Vec next(Vec sum, Vec x, int64_t r) const noexcept { return fma(x, splat(weights[r]), sum); }
  Vec last(Vec sum) const noexcept { return sum; }
};

void max_rows(const float* const* rows, int64_t count, int64_t n, float* out) noexcept {
  combine(rows, count, n, out, Maximum{});
}

// Plain loops, which compilers vectorise. Signed bytes are ordered as unsigned ones with the top bit turned.
void max_byte_rows(const uint8_t* const* rows, int64_t count, int64_t n, bool is_signed, uint8_t* out) noexcept {
  const auto flip = static_cast<uint8_t>(is_signed ? 0x80 : 0);
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(rows[0][i] ^ flip);
  for (int64_t r = 1; r < count; ++r) {
    const uint8_t* row = rows[r];
    for (int64_t i = 0; i < n; ++i) {
      const auto x = static_cast<uint8_t>(row[i] ^ flip);
      out[i] = out[i] < x ? x : out[i];
    }
  }
  for (int64_t i = 0; i < n && is_signed; ++i) out[i] = static_cast<uint8_t>(out[i] ^ flip);
}

template <class Map>
void sum_rows(const float* const* rows, int64_t count, int64_t n, float scale, float* out) noexcept {
  if (count == 0) return store_zeros(n, out);
  combine(rows, count, n, out, Sum<Map>{splat(scale)});
}

void weighted_rows(const float* const* rows, const float* weights, int64_t count, int64_t n, float* out) noexcept {
  if (count == 0) return store_zeros(n, out);
  combine(rows, count, n, out, Weighted{weights});
}

}  // namespace

const PoolKernels& pool() {
  static constexpr PoolKernels kKernels = {max_rows,           max_byte_rows,    sum_rows<Identity>,
                                           sum_rows<Absolute>, sum_rows<Square>, weighted_rows};
  return kKernels;
}

}  // namespace lathe::cpu::LATHE_ISA
