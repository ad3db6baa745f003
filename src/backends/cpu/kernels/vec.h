// The one SIMD vocabulary of the CPU kernels: a vector of floats (Vec), of 32-bit integers (IVec) and a lane mask
// (Mask), with the same functions for every instruction set. A kernel source is written once against it and compiled
// once per ISA with -DLATHE_ISA=generic|avx2|avx512; everything lands in namespace lathe::cpu::LATHE_ISA.
//
// Vec is the compiler's own vector type, so + - * / and unary - work on it; the functions are:
//   kVecWidth                                     floats in a Vec (4, 8, 16)
//   zero() splat(x) load(p) store(p, v)           no alignment is needed
//   load_n(p, n) store_n(p, v, n)                 first n lanes, 0 <= n <= kVecWidth; other lanes read as 0; no byte
//                                                 outside is touched
//   load and load_n of Half and BFloat16          widened, which is exact
//   fma(a, b, c) = a*b + c    fnma(a, b, c) = c - a*b
//   max(a, b) = a > b ? a : b   min(a, b) = a < b ? a : b     both give b when either is NaN
//   abs sqrt copysign(magnitude, sign) round_even floor ceil trunc
//   less less_equal equal is_nan -> Mask          all false on NaN but is_nan
//   first_lanes(n) both(m, k) either(m, k) invert(m) any(m) select(m, yes, no)
//   to_int (round to nearest even) to_float as_int as_float shift_left<n> shift_right<n> (arithmetic)
//   scale_by_power_of_two(x, n)                   x * 2^n, n holds integers in [-252, 254], result may be subnormal
//   zip_low(a, b) = a0 b0 a1 b1 ... from the first halves   zip_high from the second halves
//   sum_lanes max_lanes min_lanes                 max and min of lanes ignore NaN in an unspecified way
//   load_lanes store_lanes for_each_vec transpose  below
// and, in vec_math.h: exp erf tanh sigmoid and the activations built from them.
//
// Linker trap: a kernel source must not include C++ library headers with inline functions that it calls (std::vector,
// std::max, ...): the linker would keep one copy of such a function, perhaps the AVX-512 one, for the whole program.
#pragma once

// Unrolls the loop that follows completely (up to 16 times), so that arrays of Vec indexed by it stay in registers.
#if defined(__clang__)
#define LATHE_UNROLL _Pragma("unroll")
#else
#define LATHE_UNROLL _Pragma("GCC unroll 16")
#endif

#ifndef LATHE_ISA
#error "compile kernel sources with -DLATHE_ISA=generic|avx2|avx512"
#endif

#if defined(__AVX512F__)
#include "backends/cpu/kernels/vec_avx512.h"
#elif defined(__AVX2__)
#include "backends/cpu/kernels/vec_avx2.h"
#else
#include "backends/cpu/kernels/vec_generic.h"
#endif

namespace lathe::cpu::LATHE_ISA {

template <class T>
inline Vec load_lanes(const T* p, int lanes) {
  return lanes == kVecWidth ? load(p) : load_n(p, lanes);
}

inline void store_lanes(float* p, Vec v, int lanes) {
  if (lanes == kVecWidth) {
    store(p, v);
  } else {
    store_n(p, v, lanes);
  }
}

// Calls body(i, lanes) for each vector of [begin, end); only the last may have fewer than kVecWidth lanes. Inlined, the
// body exists twice, and in the first copy everything that depends on `lanes` folds away.
template <class Body>
inline void for_each_vec(int64_t begin, int64_t end, Body body) {
  int64_t i = begin;
  for (; i + kVecWidth <= end; i += kVecWidth) body(i, kVecWidth);
  if (i < end) body(i, static_cast<int>(end - i));
}

// rows[i][j] becomes rows[j][i]. Each round interleaves row i with row i + half; after log2(width) rounds every element
// has travelled to its place.
inline void transpose(Vec (&rows)[kVecWidth]) {
  constexpr int kHalf = kVecWidth / 2;
  LATHE_UNROLL
  for (int round = 1; round < kVecWidth; round *= 2) {
    Vec next[kVecWidth];
    LATHE_UNROLL
    for (int i = 0; i < kHalf; ++i) {
      next[2 * i] = zip_low(rows[i], rows[i + kHalf]);
      next[2 * i + 1] = zip_high(rows[i], rows[i + kHalf]);
    }
    LATHE_UNROLL
    for (int i = 0; i < kVecWidth; ++i) rows[i] = next[i];
  }
}

}  // namespace lathe::cpu::LATHE_ISA
