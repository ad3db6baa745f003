// Vec for any machine: the compiler's 4-lane vectors (SSE2 on baseline x86-64). The vocabulary is described in vec.h.
#pragma once

#include <cstdint>

#include "base/half.h"

namespace lathe::cpu::LATHE_ISA {

using Vec = float __attribute__((vector_size(16)));
using IVec = int32_t __attribute__((vector_size(16)));
using Mask = IVec;  // lanes of 0 or -1
inline constexpr int kVecWidth = 4;

inline Mask first_lanes(int n) { return IVec{0, 1, 2, 3} < IVec{n, n, n, n}; }
inline Mask both(Mask a, Mask b) { return a & b; }
inline Mask either(Mask a, Mask b) { return a | b; }
inline Mask invert(Mask a) { return ~a; }
inline bool any(Mask a) { return (a[0] | a[1] | a[2] | a[3]) != 0; }

inline Vec zero() { return Vec{}; }
inline Vec splat(float x) { return Vec{x, x, x, x}; }
inline IVec splat_int(int32_t x) { return IVec{x, x, x, x}; }
inline Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
inline Vec load_n(const float* p, int n) {
  Vec v{};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
inline void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }
inline void store_n(float* p, Vec v, int n) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}

inline Vec as_float(IVec a) { return reinterpret_cast<Vec>(a); }
inline IVec as_int(Vec a) { return reinterpret_cast<IVec>(a); }
inline Vec select(Mask m, Vec yes, Vec no) { return as_float((m & as_int(yes)) | (~m & as_int(no))); }
inline Mask less(Vec a, Vec b) { return a < b; }
inline Mask less_equal(Vec a, Vec b) { return a <= b; }
inline Mask equal(Vec a, Vec b) { return a == b; }
inline Mask is_nan(Vec a) { return a != a; }

template <class T>
inline IVec load_16_bits(const T* p, int n) {
  IVec bits{};
  for (int i = 0; i < n; ++i) bits[i] = p[i].bits;
  return bits;
}
inline Vec widen(const BFloat16*, IVec bits) { return as_float(bits << 16); }
// The exponent is put right by a multiplication, which subnormals survive; infinity and NaN come out from 65536 on.
inline Vec widen(const Half*, IVec bits) {
  const Vec magnitude = as_float((bits & splat_int(0x7fff)) << 13) * splat(0x1p112f);
  const IVec special = (magnitude >= splat(65536.0f)) & splat_int(0x7f800000);
  return as_float(as_int(magnitude) | special | ((bits & splat_int(0x8000)) << 16));
}
inline Vec load(const Half* p) { return widen(p, load_16_bits(p, kVecWidth)); }
inline Vec load(const BFloat16* p) { return widen(p, load_16_bits(p, kVecWidth)); }
inline Vec load_n(const Half* p, int n) { return widen(p, load_16_bits(p, n)); }
inline Vec load_n(const BFloat16* p, int n) { return widen(p, load_16_bits(p, n)); }

inline Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
inline Vec fnma(Vec a, Vec b, Vec c) { return c - a * b; }
inline Vec max(Vec a, Vec b) { return select(a > b, a, b); }
inline Vec min(Vec a, Vec b) { return select(a < b, a, b); }
inline Vec abs(Vec a) { return as_float(as_int(a) & splat_int(INT32_MAX)); }
inline Vec sqrt(Vec a) {
  return Vec{__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]), __builtin_sqrtf(a[3])};
}
inline Vec copysign(Vec magnitude, Vec sign) {
  return as_float((as_int(magnitude) & splat_int(INT32_MAX)) | (as_int(sign) & splat_int(INT32_MIN)));
}
inline Vec to_float(IVec a) { return __builtin_convertvector(a, Vec); }
// Adding 2^23 pushes the fraction out with the current (nearest even) rounding; larger magnitudes are integers already.
inline Vec round_even(Vec a) {
  const Vec magnitude = abs(a), magic = splat(0x1p23f);
  return select(less(magnitude, magic), copysign((magnitude + magic) - magic, a), a);
}
inline Vec floor(Vec a) {
  const Vec r = round_even(a);
  return copysign(r - select(less(a, r), splat(1.0f), zero()), a);
}
inline Vec ceil(Vec a) {
  const Vec r = round_even(a);
  return copysign(r + select(less(r, a), splat(1.0f), zero()), a);
}
inline Vec trunc(Vec a) { return copysign(floor(abs(a)), a); }
inline IVec to_int(Vec a) { return __builtin_convertvector(round_even(a), IVec); }
template <int n>
inline IVec shift_left(IVec a) {
  return a << n;
}
template <int n>
inline IVec shift_right(IVec a) {
  return a >> n;
}
// Two factors, because 2^n alone may not be a float when x * 2^n is.
inline Vec scale_by_power_of_two(Vec x, Vec n) {
  const IVec whole = to_int(n);
  const IVec half = shift_right<1>(whole);
  const IVec bias = splat_int(127);
  return x * as_float(shift_left<23>(half + bias)) * as_float(shift_left<23>(whole - half + bias));
}

inline Vec zip_low(Vec a, Vec b) { return __builtin_shufflevector(a, b, 0, 4, 1, 5); }
inline Vec zip_high(Vec a, Vec b) { return __builtin_shufflevector(a, b, 2, 6, 3, 7); }

inline float sum_lanes(Vec a) { return (a[0] + a[2]) + (a[1] + a[3]); }
inline float max_lanes(Vec a) {
  const Vec m = max(a, Vec{a[2], a[3], a[0], a[1]});
  return m[0] > m[1] ? m[0] : m[1];
}
inline float min_lanes(Vec a) {
  const Vec m = min(a, Vec{a[2], a[3], a[0], a[1]});
  return m[0] < m[1] ? m[0] : m[1];
}

}  // namespace lathe::cpu::LATHE_ISA
