// What a reduction keeps while it runs: sums, products and extremes are one value; log-sum-exp is a largest and a sum
// relative to it; arg-reductions are a value with its position. States merge in any order.
//
// Definitions: KIND (ReduceKind, or 10 for arg-reductions); ELEMENT; WIDE, in which it is computed: float, double, i64
// or u64; OUT, the type of the results; INTEGER (0 or 1); LOWEST and HIGHEST value of an integer type; for
// arg-reductions LARGEST and LAST (0 or 1).
#pragma once

#include "prelude.cuh"

using T = ELEMENT;

enum Kind { sum, mean, max_of, min_of, prod, l1, l2, log_sum, log_sum_exp, sum_square, arg };
constexpr Kind kKind = Kind(KIND);

#if INTEGER
using Real = double;  // for logarithms and roots
inline __device__ WIDE lowest() { return LOWEST; }
inline __device__ WIDE highest() { return HIGHEST; }
#else
using Real = WIDE;
inline __device__ WIDE lowest() { return __int_as_float(0xff800000); }
inline __device__ WIDE highest() { return __int_as_float(0x7f800000); }
#endif

// The logarithm of an integer sum is truncated; that of 0 is the lowest integer.
inline __device__ WIDE logarithm(Real total, Real shift) {
  return INTEGER && !(total > 0) ? lowest() : WIDE(log(total) + shift);
}

// Sums, products and extremes.
struct Total {
  WIDE value;

  static __device__ Total identity() {
    return {kKind == prod ? WIDE(1) : kKind == max_of ? lowest() : kKind == min_of ? highest() : WIDE(0)};
  }
  __device__ void add(WIDE x, i64) {
    merge({kKind == l1 && x < 0 ? WIDE(-x) : kKind == l2 || kKind == sum_square ? x * x : x});
  }
  __device__ void merge(Total other) {
    const WIDE x = other.value;
    if (kKind == prod)
      value *= x;
    else if (kKind == max_of)
      value = value != value || x < value ? value : x;
    else if (kKind == min_of)
      value = value != value || x > value ? value : x;
    else
      value += x;
  }
  __device__ Total of_lane(int lane) const { return {__shfl_xor_sync(FULL_MASK, value, lane)}; }
  __device__ WIDE finish(i64 count) const {
    if (kKind == mean) return INTEGER && count == 0 ? WIDE(0) : WIDE(value / WIDE(count));
    if (kKind == l2) return WIDE(sqrt(Real(value)));
    if (kKind == log_sum) return logarithm(Real(value), 0);
    return value;
  }
};

// log(sum(exp(x))) with the largest x taken out, so that nothing overflows.
struct LogTotal {
  Real largest, total;

  static __device__ LogTotal identity() { return {Real(__int_as_float(0xff800000)), 0}; }
  __device__ void add(WIDE x, i64) { merge({Real(x), 1}); }
  __device__ void merge(LogTotal other) {
    const Real next = Max::combine(largest, other.largest);
    total = scaled(next) + other.scaled(next);
    largest = next;
  }
  __device__ Real scaled(Real next) const { return largest == identity().largest ? 0 : total * exp(largest - next); }
  __device__ LogTotal of_lane(int lane) const {
    return {__shfl_xor_sync(FULL_MASK, largest, lane), __shfl_xor_sync(FULL_MASK, total, lane)};
  }
  // An infinity or NaN among the elements is the result; so is the identity, when there are none.
  __device__ WIDE finish(i64) const {
    if (largest - largest != 0) return INTEGER ? lowest() : WIDE(largest);
    return logarithm(total, largest);
  }
};

#if KIND == 10
// A value and where it stands; a NaN beats every number.
struct Winner {
  WIDE value;
  i64 index;  // -1: nothing yet

  static __device__ Winner identity() { return {WIDE(0), -1}; }
  __device__ void add(WIDE x, i64 at) { merge({x, at}); }
  __device__ void merge(Winner other) {
    if (other.index >= 0 && (index < 0 || other.beats(*this))) *this = other;
  }
  __device__ bool beats(const Winner& other) const {
    const bool nan = value != value, other_nan = other.value != other.value;
    if (nan != other_nan) return nan;
    if (nan || value == other.value) return LAST ? index > other.index : index < other.index;
    return LARGEST ? value > other.value : value < other.value;
  }
  __device__ Winner of_lane(int lane) const {
    return {__shfl_xor_sync(FULL_MASK, value, lane), __shfl_xor_sync(FULL_MASK, index, lane)};
  }
  __device__ i64 finish(i64) const { return index; }
};
using State = Winner;
#elif KIND == 8
using State = LogTotal;
#else
using State = Total;
#endif

inline __device__ State merge_warp(State state) {
#pragma unroll
  for (int lane = kWarp / 2; lane > 0; lane /= 2) state.merge(state.of_lane(lane));
  return state;
}

template <class Args>
inline __device__ void write_result(const Args& args, i64 result, const State& state) {
  using Finished = Register<OUT>;
  static_cast<OUT*>(args.output)[result] = from_register<OUT>(Finished(state.finish(args.count)));
}
// The result itself, or one part of it that reduce_finish.cu will merge with the others.
template <class Args>
inline __device__ void write_part(const Args& args, i64 result, const State& state) {
  if constexpr (SPLIT)
    static_cast<State*>(args.partial)[blockIdx.y * args.results + result] = state;
  else
    write_result(args, result, state);
}
