// Reductions of the types that have no vector kernels: i32, i64 and f64, in plain loops by the calling thread. Models
// reduce masks, lengths and positions with them, which are small. Integers wrap, as in the graph's semantics.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>

#include "backends/cpu/kernels/reduce.h"
#include "graph/ops/reduce.h"

namespace lathe::cpu {

// Arithmetic on integers goes through the unsigned type, where overflow is defined.
template <class T>
using Wrapped = typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>, std::type_identity<T>>::type;

template <class T>
T wrapping_add(T a, T b) {
  return static_cast<T>(static_cast<Wrapped<T>>(a) + static_cast<Wrapped<T>>(b));
}
template <class T>
T wrapping_multiply(T a, T b) {
  return static_cast<T>(static_cast<Wrapped<T>>(a) * static_cast<Wrapped<T>>(b));
}

inline bool plain_reduce_serves(lathe::ReduceKind kind) {
  switch (kind) {
    case lathe::ReduceKind::sum:
    case lathe::ReduceKind::mean:
    case lathe::ReduceKind::max:
    case lathe::ReduceKind::min:
    case lathe::ReduceKind::prod:
    case lathe::ReduceKind::sum_square: return true;
    default: return false;
  }
}

// Total of a run of values, in A: the type itself, or i64 for narrower integers.
template <class T>
class PlainTotal {
 public:
  using A = std::conditional_t<std::is_integral_v<T>, int64_t, double>;

  explicit PlainTotal(lathe::ReduceKind kind) : kind_(kind) {
    using Limits = std::numeric_limits<T>;
    constexpr bool real = std::is_floating_point_v<T>;
    if (kind == lathe::ReduceKind::prod) total_ = 1;
    if (kind == lathe::ReduceKind::max) total_ = real ? -Limits::infinity() : Limits::lowest();
    if (kind == lathe::ReduceKind::min) total_ = real ? Limits::infinity() : Limits::max();
  }

  void add(T value) {
    const A x = value;
    switch (kind_) {
      case lathe::ReduceKind::max: total_ = total_ != total_ || x < total_ ? total_ : x; break;
      case lathe::ReduceKind::min: total_ = total_ != total_ || x > total_ ? total_ : x; break;
      case lathe::ReduceKind::prod: total_ = wrapping_multiply(total_, x); break;
      case lathe::ReduceKind::sum_square: total_ = wrapping_add(total_, wrapping_multiply(x, x)); break;
      default: total_ = wrapping_add(total_, x);
    }
  }

  T result(int64_t count) const {
    if (kind_ != lathe::ReduceKind::mean) return static_cast<T>(total_);
    if (std::is_integral_v<T> && count == 0) return 0;
    return static_cast<T>(total_ / static_cast<A>(count));
  }

 private:
  lathe::ReduceKind kind_;
  A total_ = 0;
};

// Calls f(offset) for every index below dims, row-major.
template <class F>
void for_each_offset(std::span<const int64_t> dims, std::span<const int64_t> strides, int64_t offset, F&& f) {
  if (dims.empty()) return f(offset);
  for (int64_t i = 0; i < dims.front(); ++i)
    for_each_offset(dims.subspan(1), strides.subspan(1), offset + i * strides.front(), f);
}

// Sizes and strides of the kept and of the reduced axes.
struct PlainAxes {
  std::vector<int64_t> kept, kept_strides, reduced, reduced_strides;
};

template <class T>
void plain_reduce(lathe::ReduceKind kind, const PlainAxes& axes, const T* x, T* out) {
  int64_t count = 1;
  for (const int64_t size : axes.reduced) count *= size;
  for_each_offset(axes.kept, axes.kept_strides, 0, [&](int64_t base) {
    PlainTotal<T> total(kind);
    for_each_offset(axes.reduced, axes.reduced_strides, base, [&](int64_t offset) { total.add(x[offset]); });
    *out++ = total.result(count);
  });
}

template <class T>
void plain_arg_extreme(const AxisView& view, bool largest, bool last_of_equals, const T* x, int64_t* out) {
  const auto beats = [&](T a, T b) {
    if (a != a) return !(b != b);
    return largest ? a > b : a < b;
  };
  for (int64_t o = 0; o < view.outer; ++o) {
    for (int64_t i = 0; i < view.inner; ++i) {
      const T* values = x + o * view.axis * view.inner + i;
      int64_t best = 0;
      for (int64_t a = 1; a < view.axis; ++a) {
        const T value = values[a * view.inner], leader = values[best * view.inner];
        if (last_of_equals ? !beats(leader, value) : beats(value, leader)) best = a;
      }
      *out++ = best;
    }
  }
}

// Running sums or products in the type itself (f32 products in double).
template <class T>
void plain_cumulative(const lathe::Cumulative& op, const AxisView& view, const T* x, T* out) {
  using A = std::conditional_t<std::is_integral_v<T>, T, double>;
  const bool product = op.kind == CumulativeKind::prod;
  for (int64_t o = 0; o < view.outer; ++o) {
    for (int64_t i = 0; i < view.inner; ++i) {
      A total = product ? 1 : 0;
      for (int64_t a = 0; a < view.axis; ++a) {
        const int64_t at = (o * view.axis + (op.reverse ? view.axis - 1 - a : a)) * view.inner + i;
        const A value = x[at], next = product ? wrapping_multiply(total, value) : wrapping_add(total, value);
        out[at] = static_cast<T>(op.exclusive ? total : next);
        total = next;
      }
    }
  }
}

}  // namespace lathe::cpu
