#include "backends/cpu/kernels/reduce_kernels.h"

#include "backends/cpu/kernels/vec.h"
#include "backends/cpu/kernels/vec_math.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

// What a reduction does: start() is its identity, map() is applied to each value, join() combines two results.
struct Adding {
  static Vec start() noexcept { return zero(); }
  static Vec join(Vec a, Vec b) noexcept { return a + b; }
};
struct Sum : Adding {
  static Vec map(Vec x, Vec) noexcept { return x; }
};
struct AbsSum : Adding {
  static Vec map(Vec x, Vec) noexcept { return abs(x); }
};
struct SquareSum : Adding {
  static Vec map(Vec x, Vec) noexcept { return x * x; }
};
struct ExpSum : Adding {
  static Vec map(Vec x, Vec shift) noexcept { return exp(x - shift); }
};
struct Product {
  static Vec start() noexcept { return splat(1.0f); }
  static Vec map(Vec x, Vec) noexcept { return x; }
  static Vec join(Vec a, Vec b) noexcept { return a * b; }
};
// max and min give their second operand when either is NaN: b's NaN comes through there, a's by the selection.
struct Maximum {
  static Vec start() noexcept { return splat(-__builtin_inff()); }
  static Vec map(Vec x, Vec) noexcept { return x; }
  static Vec join(Vec a, Vec b) noexcept { return select(is_nan(a), a, max(a, b)); }
};
struct Minimum {
  static Vec start() noexcept { return splat(__builtin_inff()); }
  static Vec map(Vec x, Vec) noexcept { return x; }
  static Vec join(Vec a, Vec b) noexcept { return select(is_nan(a), a, min(a, b)); }
};

// Lanes beyond n read as zero; they must not count.
template <class Op>
inline Vec mapped_tail(const float* x, int n, Vec shift) noexcept {
  return select(first_lanes(n), Op::map(load_n(x, n), shift), Op::start());
}

// Joins the lanes pairwise, so that NaN rules and rounding are those of join().
template <class Op>
inline float join_lanes(Vec v) noexcept {
  float lanes[2 * kVecWidth] = {};
  for (int width = kVecWidth / 2; width > 0; width /= 2) {
    store(lanes, v);
    v = Op::join(v, load(lanes + width));  // lanes above `width` are of no interest any more
  }
  store(lanes, v);
  return lanes[0];
}

template <class Op>
float reduce_run(const float* x, int64_t n, const float* shift) noexcept {
  constexpr int kTogether = 4;
  const Vec subtract = shift != nullptr ? splat(*shift) : zero();
  Vec total[kTogether];
#pragma GCC unroll 4
  for (int v = 0; v < kTogether; ++v) total[v] = Op::start();
  int64_t i = 0;
  for (; i + kTogether * kVecWidth <= n; i += kTogether * kVecWidth) {
#pragma GCC unroll 4
    for (int v = 0; v < kTogether; ++v) {
      total[v] = Op::join(total[v], Op::map(load(x + i + v * kVecWidth), subtract));
    }
  }
  for (; i + kVecWidth <= n; i += kVecWidth) total[0] = Op::join(total[0], Op::map(load(x + i), subtract));
  if (i < n) total[1] = Op::join(total[1], mapped_tail<Op>(x + i, static_cast<int>(n - i), subtract));
  return join_lanes<Op>(Op::join(Op::join(total[0], total[1]), Op::join(total[2], total[3])));
}

// One vector of columns; two accumulators hide the latency of one chain.
template <class Op>
inline Vec reduce_column(const float* x, int64_t rows, int64_t stride, int lanes, Vec shift) noexcept {
  Vec even = Op::start(), odd = Op::start();
  int64_t r = 0;
  for (; r + 2 <= rows; r += 2) {
    even = Op::join(even, Op::map(load_n(x + r * stride, lanes), shift));
    odd = Op::join(odd, Op::map(load_n(x + (r + 1) * stride, lanes), shift));
  }
  if (r < rows) even = Op::join(even, Op::map(load_n(x + r * stride, lanes), shift));
  return Op::join(even, odd);
}

template <class Op>
void reduce_columns(const float* x, int64_t rows, int64_t stride, int64_t columns, const float* shift,
                    float* out) noexcept {
  constexpr int kTogether = 4;
  int64_t c = 0;
  for (; c + kTogether * kVecWidth <= columns; c += kTogether * kVecWidth) {
    Vec total[kTogether], subtract[kTogether];
#pragma GCC unroll 4
    for (int v = 0; v < kTogether; ++v) {
      total[v] = Op::start();
      subtract[v] = shift != nullptr ? load(shift + c + v * kVecWidth) : zero();
    }
    for (int64_t r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kTogether; ++v) {
        total[v] = Op::join(total[v], Op::map(load(x + r * stride + c + v * kVecWidth), subtract[v]));
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < kTogether; ++v) store(out + c + v * kVecWidth, total[v]);
  }
  for (; c < columns; c += kVecWidth) {
    const int lanes = columns - c < kVecWidth ? static_cast<int>(columns - c) : kVecWidth;
    const Vec subtract = shift != nullptr ? load_n(shift + c, lanes) : zero();
    store_n(out + c, reduce_column<Op>(x + c, rows, stride, lanes, subtract), lanes);
  }
}

void soften_columns(const float* x, int64_t rows, int64_t stride, int64_t columns, const float* shift,
                    const float* scale, bool log, float* y) noexcept {
  for (int64_t c = 0; c < columns; c += kVecWidth) {
    const int lanes = columns - c < kVecWidth ? static_cast<int>(columns - c) : kVecWidth;
    const Vec subtract = load_n(shift + c, lanes), factor = load_n(scale + c, lanes);
    for (int64_t r = 0; r < rows; ++r) {
      const Vec v = load_n(x + r * stride + c, lanes) - subtract;
      store_n(y + r * stride + c, log ? v - factor : exp(v) * factor, lanes);
    }
  }
}

}  // namespace

const ReduceKernels& reduce() {
  static constexpr ReduceKernels kKernels = {
      {reduce_run<Sum>, reduce_run<AbsSum>, reduce_run<SquareSum>, reduce_run<ExpSum>, reduce_run<Product>,
       reduce_run<Maximum>, reduce_run<Minimum>},
      {reduce_columns<Sum>, reduce_columns<AbsSum>, reduce_columns<SquareSum>, reduce_columns<ExpSum>,
       reduce_columns<Product>, reduce_columns<Maximum>, reduce_columns<Minimum>},
      soften_columns};
  return kKernels;
}

}  // namespace lathe::cpu::LATHE_ISA
