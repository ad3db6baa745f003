// What the instructions of expression programs compute (graph/map_program.h), one overloaded function per instruction;
// generated programs call them. Same definitions as graph/reference/map_instructions.cc.
#pragma once

#include "prelude.cuh"

template <class T>
struct IntTraits {
  static constexpr bool is_signed = T(-1) < T(0);
  static constexpr int width = sizeof(T) * 8;
};

inline __device__ float round_f16(float x) { return to_float(from_float<f16>(x)); }
inline __device__ float round_bf16(float x) { return to_float(from_float<bf16>(x)); }

// ---- floats (F: float or double) ----

#define FLOAT_UNARY(name, expression)                                \
  inline __device__ float op_##name(float x) { return expression; } \
  inline __device__ double op_##name(double x) { return expression; }

FLOAT_UNARY(neg, -x)
FLOAT_UNARY(abs, fabs(x))
FLOAT_UNARY(sign, x != x ? x : (x > 0) - (x < 0))
FLOAT_UNARY(floor, floor(x))
FLOAT_UNARY(ceil, ceil(x))
FLOAT_UNARY(round, rint(x))
FLOAT_UNARY(trunc, trunc(x))
FLOAT_UNARY(sqrt, sqrt(x))
FLOAT_UNARY(reciprocal, 1 / x)
FLOAT_UNARY(exp, exp(x))
FLOAT_UNARY(log, log(x))
FLOAT_UNARY(expm1, expm1(x))
FLOAT_UNARY(log1p, log1p(x))
FLOAT_UNARY(sin, sin(x))
FLOAT_UNARY(cos, cos(x))
FLOAT_UNARY(tan, tan(x))
FLOAT_UNARY(asin, asin(x))
FLOAT_UNARY(acos, acos(x))
FLOAT_UNARY(atan, atan(x))
FLOAT_UNARY(sinh, sinh(x))
FLOAT_UNARY(cosh, cosh(x))
FLOAT_UNARY(asinh, asinh(x))
FLOAT_UNARY(acosh, acosh(x))
FLOAT_UNARY(atanh, atanh(x))
FLOAT_UNARY(tanh, tanh(x))
FLOAT_UNARY(erf, erf(x))
FLOAT_UNARY(sigmoid, 1 / (1 + exp(-x)))
FLOAT_UNARY(softplus, x != x ? x : (x > 0 ? x : 0) + log1p(exp(-fabs(x))))
FLOAT_UNARY(relu, x < 0 ? 0 : x)
FLOAT_UNARY(silu, x / (1 + exp(-x)))
FLOAT_UNARY(mish, x * tanh(op_softplus(x)))
FLOAT_UNARY(hard_swish, x * (x < -3 ? 0 : x > 3 ? 1 : x / 6 + 0.5f))
#undef FLOAT_UNARY

inline __device__ float op_gelu_erf(float x) { return 0.5f * x * erfcf(-0.70710678118654752f * x); }
inline __device__ double op_gelu_erf(double x) { return 0.5 * x * erfc(-0.70710678118654752 * x); }
inline __device__ float op_gelu_tanh(float x) {
  return 0.5f * x * (1 + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
}
inline __device__ double op_gelu_tanh(double x) {
  return 0.5 * x * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
}

// ---- activations whose results are rounded to 16 or 8 bits: an error of a few 2^-18 of the result does not show ----

inline __device__ float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
inline __device__ float reciprocal_approximate(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
inline __device__ float narrow_exp(float x) { return exp2_approximate(1.4426950408889634f * x); }
inline __device__ float narrow_sigmoid(float x) { return reciprocal_approximate(1 + narrow_exp(-x)); }
inline __device__ float narrow_silu(float x) { return x * narrow_sigmoid(x); }
inline __device__ float narrow_gelu_tanh(float x) {
  return x * narrow_sigmoid(1.5957691216057308f * (x + 0.044715f * x * x * x));
}
// x times the normal distribution's share below it. The logarithm of that share below -|x| is close to a polynomial
// (relative error of the share below 4e-6 down to -5.8, where it is 3e-9), which falls for ever beyond.
inline __device__ float narrow_gelu_erf(float x) {
  const float z = fabsf(x);
  float log = -1.8287334755885396e-06f;
  log = log * z + 6.149493475306387e-05f;
  log = log * z - 9.298473564470026e-04f;
  log = log * z + 8.505738035483951e-03f;
  log = log * z - 5.395665118934095e-02f;
  log = log * z - 4.5846689356912984e-01f;
  log = log * z - 1.151250386214061f;
  log = log * z - 0.9999953216574351f;
  const float share = exp2_approximate(log);
  return x * (x < 0 ? share : 1 - share);
}

template <class F>
inline __device__ bool op_is_nan(F x) {
  return x != x;
}
template <class F>
inline __device__ bool op_is_inf(F x) {
  return x == x && x - x != x - x;
}

template <class F>
inline __device__ F float_floor_mod(F a, F b) {
  const F r = fmod(a, b);
  if (r == 0) return copysign(F(0), b);
  return (r < 0) != (b < 0) ? r + b : r;
}

#define FLOAT_BINARY(name, expression)                                          \
  inline __device__ float op_##name(float a, float b) { return expression; }   \
  inline __device__ double op_##name(double a, double b) { return expression; }

FLOAT_BINARY(add, a + b)
FLOAT_BINARY(sub, a - b)
FLOAT_BINARY(mul, a* b)
FLOAT_BINARY(div, a / b)
FLOAT_BINARY(floor_mod, float_floor_mod(a, b))
FLOAT_BINARY(trunc_mod, fmod(a, b))
FLOAT_BINARY(pow, pow(a, b))
FLOAT_BINARY(min, a != a ? a : (b != b ? b : fmin(a, b)))
FLOAT_BINARY(max, a != a ? a : (b != b ? b : fmax(a, b)))
FLOAT_BINARY(atan2, atan2(a, b))
#undef FLOAT_BINARY

// ---- integers; arithmetic wraps ----

template <class T>
inline __device__ T int_abs(T x) {
  return IntTraits<T>::is_signed && x < 0 ? T(0 - u64(x)) : x;
}
template <class T>
inline __device__ T int_div(T a, T b) {
  if (b == 0) return 0;
  if (IntTraits<T>::is_signed && b == T(-1)) return T(0 - u64(a));
  return T(a / b);
}
template <class T>
inline __device__ T int_trunc_mod(T a, T b) {
  if (b == 0 || (IntTraits<T>::is_signed && b == T(-1))) return 0;
  return T(a % b);
}
template <class T>
inline __device__ T int_floor_mod(T a, T b) {
  const T r = int_trunc_mod(a, b);
  return IntTraits<T>::is_signed && r != 0 && (r < 0) != (b < 0) ? T(r + b) : r;
}
template <class T>
inline __device__ T int_pow(T base, T exponent) {
  if (IntTraits<T>::is_signed && exponent < 0) {
    if (base == 1) return 1;
    return base == T(-1) ? (exponent % 2 == 0 ? T(1) : T(-1)) : T(0);
  }
  u64 result = 1, square = u64(base);
  for (u64 n = u64(exponent); n != 0; n >>= 1, square *= square)
    if (n & 1) result *= square;
  return T(result);
}
template <class T>
inline __device__ T int_shift(T x, T by, bool left) {
  if (u64(by) >= u64(IntTraits<T>::width)) return !left && x < 0 ? T(-1) : T(0);
  return left ? T(u64(x) << by) : T(x >> by);
}

#define INT_OPS(T)                                                                                  \
  inline __device__ T op_neg(T x) { return T(0 - u64(x)); }                                         \
  inline __device__ T op_abs(T x) { return int_abs(x); }                                            \
  inline __device__ T op_sign(T x) { return IntTraits<T>::is_signed && x < 0 ? T(-1) : T(x != 0); } \
  inline __device__ T op_relu(T x) { return IntTraits<T>::is_signed && x < 0 ? T(0) : x; }          \
  inline __device__ T op_bit_not(T x) { return T(~x); }                                             \
  inline __device__ T op_floor(T x) { return x; }                                                   \
  inline __device__ T op_ceil(T x) { return x; }                                                    \
  inline __device__ T op_round(T x) { return x; }                                                   \
  inline __device__ T op_trunc(T x) { return x; }                                                   \
  inline __device__ bool op_is_nan(T) { return false; }                                             \
  inline __device__ bool op_is_inf(T) { return false; }                                             \
  inline __device__ T op_add(T a, T b) { return T(u64(a) + u64(b)); }                               \
  inline __device__ T op_sub(T a, T b) { return T(u64(a) - u64(b)); }                               \
  inline __device__ T op_mul(T a, T b) { return T(u64(a) * u64(b)); }                               \
  inline __device__ T op_div(T a, T b) { return int_div(a, b); }                                    \
  inline __device__ T op_floor_mod(T a, T b) { return int_floor_mod(a, b); }                        \
  inline __device__ T op_trunc_mod(T a, T b) { return int_trunc_mod(a, b); }                        \
  inline __device__ T op_pow(T a, T b) { return int_pow(a, b); }                                    \
  inline __device__ T op_min(T a, T b) { return a < b ? a : b; }                                    \
  inline __device__ T op_max(T a, T b) { return a < b ? b : a; }                                    \
  inline __device__ T op_bit_and(T a, T b) { return T(a & b); }                                     \
  inline __device__ T op_bit_or(T a, T b) { return T(a | b); }                                      \
  inline __device__ T op_bit_xor(T a, T b) { return T(a ^ b); }                                     \
  inline __device__ T op_shift_left(T a, T b) { return int_shift(a, b, true); }                     \
  inline __device__ T op_shift_right(T a, T b) { return int_shift(a, b, false); }

INT_OPS(i8)
INT_OPS(u8)
INT_OPS(i16)
INT_OPS(u16)
INT_OPS(i32)
INT_OPS(u32)
INT_OPS(i64)
INT_OPS(u64)
#undef INT_OPS

// ---- bool ----

inline __device__ bool op_logical_not(bool x) { return !x; }
inline __device__ bool op_logical_and(bool a, bool b) { return a && b; }
inline __device__ bool op_logical_or(bool a, bool b) { return a || b; }
inline __device__ bool op_logical_xor(bool a, bool b) { return a != b; }
inline __device__ bool op_add(bool a, bool b) { return a != b; }
inline __device__ bool op_mul(bool a, bool b) { return a && b; }
inline __device__ bool op_min(bool a, bool b) { return a && b; }
inline __device__ bool op_max(bool a, bool b) { return a || b; }
inline __device__ bool op_bit_and(bool a, bool b) { return a && b; }
inline __device__ bool op_bit_or(bool a, bool b) { return a || b; }
inline __device__ bool op_bit_xor(bool a, bool b) { return a != b; }
inline __device__ bool op_bit_not(bool a) { return !a; }
inline __device__ bool op_abs(bool a) { return a; }
inline __device__ bool op_sign(bool a) { return a; }
inline __device__ bool op_relu(bool a) { return a; }

// ---- comparison, selection, conversion ----

template <class T>
inline __device__ bool op_eq(T a, T b) {
  return a == b;
}
template <class T>
inline __device__ bool op_ne(T a, T b) {
  return a != b;
}
template <class T>
inline __device__ bool op_lt(T a, T b) {
  return a < b;
}
template <class T>
inline __device__ bool op_le(T a, T b) {
  return a <= b;
}
template <class T>
inline __device__ bool op_gt(T a, T b) {
  return a > b;
}
template <class T>
inline __device__ bool op_ge(T a, T b) {
  return a >= b;
}
template <class T>
inline __device__ T op_select(bool condition, T a, T b) {
  return condition ? a : b;
}

// Saturation bounds, exact in both float types or the nearest value within the type.
template <class To, class F>
inline __device__ To saturate_float(F x) {
  if (x != x) return To(0);
  constexpr bool is_signed = IntTraits<To>::is_signed;
  constexpr int width = IntTraits<To>::width;
  constexpr u64 high = is_signed ? (u64(1) << (width - 1)) - 1 : ~u64(0) >> (64 - width);
  constexpr i64 low = is_signed ? -i64(high) - 1 : 0;
  const F t = trunc(x);
  if (t <= F(low)) return To(low);
  if (t >= F(high)) return To(high);
  return To(t);
}
template <class To>
inline __device__ To saturate_to_width(i32 x) {
  constexpr i32 high = i32(0x7fffffffu >> (32 - IntTraits<To>::width));
  return To(min(max(x, -high - 1), high));
}
template <class To>
inline __device__ To saturate_to_width(u32 x) {
  return To(min(x, ~0u >> (32 - IntTraits<To>::width)));
}
// As the instructions convert to 32 bits: towards zero, saturating, NaN to 0.
template <class To>
inline __device__ To saturate_float(float x) {
  if constexpr (IntTraits<To>::width > 32)
    return saturate_float<To, float>(x);
  else if constexpr (IntTraits<To>::is_signed)
    return saturate_to_width<To>(__float2int_rz(x));
  else
    return saturate_to_width<To>(__float2uint_rz(x));
}
// The same of x rounded to the nearest integer, by one instruction.
template <class To>
inline __device__ To saturate_rounded(float x) {
  if constexpr (IntTraits<To>::width > 32)
    return saturate_float<To, float>(rintf(x));
  else if constexpr (IntTraits<To>::is_signed)
    return saturate_to_width<To>(__float2int_rn(x));
  else
    return saturate_to_width<To>(__float2uint_rn(x));
}
template <class To, class From>
inline __device__ To saturate_int(From x) {
  constexpr bool is_signed = IntTraits<To>::is_signed;
  constexpr int width = IntTraits<To>::width;
  constexpr u64 high = is_signed ? (u64(1) << (width - 1)) - 1 : ~u64(0) >> (64 - width);
  constexpr i64 low = is_signed ? -i64(high) - 1 : 0;
  const bool negative = IntTraits<From>::is_signed && x < 0;
  if (negative) return i64(x) < low ? To(low) : To(x);
  return u64(x) > high ? To(high) : To(x);
}

template <class To>
struct Cast {  // to an integer
  static __device__ To plain(float x) { return saturate_float<To>(x); }
  static __device__ To plain(double x) { return saturate_float<To>(x); }
  static __device__ To plain(bool x) { return To(x); }
  template <class From>
  static __device__ To plain(From x) {
    return To(x);
  }
  static __device__ To saturating(float x) { return saturate_float<To>(x); }
  static __device__ To saturating(double x) { return saturate_float<To>(x); }
  static __device__ To saturating(bool x) { return To(x); }
  template <class From>
  static __device__ To saturating(From x) {
    return saturate_int<To>(x);
  }
};
template <>
struct Cast<bool> {
  template <class From>
  static __device__ bool plain(From x) {
    return x != From(0);
  }
  template <class From>
  static __device__ bool saturating(From x) {
    return plain(x);
  }
};
template <>
struct Cast<float> {
  template <class From>
  static __device__ float plain(From x) {
    return static_cast<float>(x);
  }
  template <class From>
  static __device__ float saturating(From x) {
    return plain(x);
  }
};
template <>
struct Cast<e4m3> {
  static __device__ e4m3 plain(float x) { return fabsf(x) > 464 ? e4m3{0x7f} : to_e4m3(x); }
  static __device__ e4m3 saturating(float x) { return to_e4m3(x); }
};
template <>
struct Cast<double> {
  template <class From>
  static __device__ double plain(From x) {
    return static_cast<double>(x);
  }
  template <class From>
  static __device__ double saturating(From x) {
    return plain(x);
  }
};
