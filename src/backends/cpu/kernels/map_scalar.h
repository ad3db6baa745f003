// Scalar operations of the map interpreter, for every type, written without the C++ library (see the linker trap in
// vec.h): the loops in map_kernels.cc are built from them. Semantics: graph/map_program.h.
#pragma once

#include <cstdint>

#include "graph/map_op.h"

namespace lathe::cpu::LATHE_ISA {

// A bool register: one byte, 0 or 1.
struct MapBool {
  uint8_t value;
};

template <class T, class U>
inline constexpr bool kSame = false;
template <class T>
inline constexpr bool kSame<T, T> = true;
template <class T>
inline constexpr bool kIsFloat = kSame<T, float> || kSame<T, double>;
template <class T>
inline constexpr bool kIsBool = kSame<T, MapBool>;
template <class T>
inline constexpr bool kIsInt = !kIsFloat<T> && !kIsBool<T>;
template <class T>
inline constexpr bool kIsSigned = kIsInt<T>&& static_cast<T>(-1) < static_cast<T>(0);
template <>
inline constexpr bool kIsSigned<MapBool> = false;

// The unsigned type in which T's arithmetic wraps without overflow.
template <int bytes>
struct UnsignedOf;
template <>
struct UnsignedOf<1> {
  using Type = uint8_t;
};
template <>
struct UnsignedOf<2> {
  using Type = uint16_t;
};
template <>
struct UnsignedOf<4> {
  using Type = uint32_t;
};
template <>
struct UnsignedOf<8> {
  using Type = uint64_t;
};
template <class T>
using Wrapping = typename UnsignedOf<sizeof(T)>::Type;

constexpr bool is_binary_map_op(MapOp op) { return op >= MapOp::add && op <= MapOp::ge; }
constexpr bool gives_bool(MapOp op) {
  return (op >= MapOp::eq && op <= MapOp::ge) || op == MapOp::is_nan || op == MapOp::is_inf;
}
template <MapOp op, class T>
struct MapResultOf {
  using Type = T;
};
template <MapOp op, class T>
requires(gives_bool(op)) struct MapResultOf<op, T> {
  using Type = MapBool;
};
template <MapOp op, class T>
using MapResult = typename MapResultOf<op, T>::Type;

// Which operations exist for a register type.
template <MapOp op, class T>
constexpr bool map_op_takes() {
  constexpr bool logic = op == MapOp::logical_not || (op >= MapOp::logical_and && op <= MapOp::logical_xor);
  constexpr bool bits = op == MapOp::bit_not || (op >= MapOp::bit_and && op <= MapOp::shift_right);
  constexpr bool any_type = op == MapOp::eq || op == MapOp::ne || op == MapOp::select;
  constexpr bool integers = (op >= MapOp::neg && op <= MapOp::sign) || op == MapOp::relu ||
                            (op >= MapOp::add && op <= MapOp::max) || (op >= MapOp::lt && op <= MapOp::ge) ||
                            (op >= MapOp::floor && op <= MapOp::trunc);
  if (any_type) return true;
  if (kIsBool<T>) return logic;
  return kIsInt<T> ? (bits || integers) : !(bits || logic);
}

// The assertion only takes the semicolon of a use.
#define LATHE_LIBM(name)                                            \
  inline float m_##name(float x) { return __builtin_##name##f(x); } \
  inline double m_##name(double x) { return __builtin_##name(x); }  \
  static_assert(true)
LATHE_LIBM(exp);
LATHE_LIBM(log);
LATHE_LIBM(expm1);
LATHE_LIBM(log1p);
LATHE_LIBM(sin);
LATHE_LIBM(cos);
LATHE_LIBM(tan);
LATHE_LIBM(asin);
LATHE_LIBM(acos);
LATHE_LIBM(atan);
LATHE_LIBM(sinh);
LATHE_LIBM(cosh);
LATHE_LIBM(asinh);
LATHE_LIBM(acosh);
LATHE_LIBM(atanh);
LATHE_LIBM(tanh);
LATHE_LIBM(erf);
LATHE_LIBM(floor);
LATHE_LIBM(ceil);
LATHE_LIBM(trunc);
LATHE_LIBM(rint);
LATHE_LIBM(sqrt);
LATHE_LIBM(fabs);
#undef LATHE_LIBM

inline float m_pow(float a, float b) { return __builtin_powf(a, b); }
inline double m_pow(double a, double b) { return __builtin_pow(a, b); }
inline float m_atan2(float a, float b) { return __builtin_atan2f(a, b); }
inline double m_atan2(double a, double b) { return __builtin_atan2(a, b); }
inline float m_fmod(float a, float b) { return __builtin_fmodf(a, b); }
inline double m_fmod(double a, double b) { return __builtin_fmod(a, b); }

template <class T>
T sigmoid_of(T x) {
  const T e = m_exp(-m_fabs(x));
  return (x < 0 ? e : T(1)) / (T(1) + e);
}
template <class T>
T softplus_of(T x) {
  return (x > 0 ? x : T(0)) + m_log1p(m_exp(-m_fabs(x)));
}

template <MapOp op, class T>
T elementary_function(T x) {
  if constexpr (op == MapOp::exp)
    return m_exp(x);
  else if constexpr (op == MapOp::log)
    return m_log(x);
  else if constexpr (op == MapOp::expm1)
    return m_expm1(x);
  else if constexpr (op == MapOp::log1p)
    return m_log1p(x);
  else if constexpr (op == MapOp::sin)
    return m_sin(x);
  else if constexpr (op == MapOp::cos)
    return m_cos(x);
  else if constexpr (op == MapOp::tan)
    return m_tan(x);
  else if constexpr (op == MapOp::asin)
    return m_asin(x);
  else if constexpr (op == MapOp::acos)
    return m_acos(x);
  else if constexpr (op == MapOp::atan)
    return m_atan(x);
  else if constexpr (op == MapOp::sinh)
    return m_sinh(x);
  else if constexpr (op == MapOp::cosh)
    return m_cosh(x);
  else if constexpr (op == MapOp::asinh)
    return m_asinh(x);
  else if constexpr (op == MapOp::acosh)
    return m_acosh(x);
  else if constexpr (op == MapOp::atanh)
    return m_atanh(x);
  else if constexpr (op == MapOp::tanh)
    return m_tanh(x);
  else if constexpr (op == MapOp::erf)
    return m_erf(x);
}

template <MapOp op, class T>
T activation_function(T x) {
  if constexpr (op == MapOp::sigmoid)
    return sigmoid_of(x);
  else if constexpr (op == MapOp::softplus)
    return softplus_of(x);
  else if constexpr (op == MapOp::silu)
    return x * sigmoid_of(x);
  else if constexpr (op == MapOp::gelu_erf)
    return T(0.5) * x * (T(1) + m_erf(x * T(0.70710678118654752440)));
  else if constexpr (op == MapOp::gelu_tanh)
    return T(0.5) * x * (T(1) + m_tanh(T(0.79788456080286535588) * (x + T(0.044715) * x * x * x)));
  else if constexpr (op == MapOp::mish)
    return x * m_tanh(softplus_of(x));
  else if constexpr (op == MapOp::hard_swish) {
    const T gate = x * T(1.0 / 6.0) + T(0.5);
    return x * (gate < 0 ? T(0) : (gate > 1 ? T(1) : gate));
  }
}

// One operand.
template <MapOp op, class T>
MapResult<op, T> apply_map_op(T x) {
  if constexpr (op == MapOp::logical_not)
    return {static_cast<uint8_t>(x.value == 0)};
  else if constexpr (op == MapOp::is_nan)
    return {static_cast<uint8_t>(x != x)};
  else if constexpr (op == MapOp::is_inf)
    return {static_cast<uint8_t>(m_fabs(x) == static_cast<T>(__builtin_inf()))};
  else if constexpr (op == MapOp::neg) {
    if constexpr (kIsInt<T>)
      return static_cast<T>(Wrapping<T>(0) - static_cast<Wrapping<T>>(x));
    else
      return -x;
  } else if constexpr (op == MapOp::abs) {
    if constexpr (kIsFloat<T>)
      return m_fabs(x);
    else
      return x < 0 ? static_cast<T>(Wrapping<T>(0) - static_cast<Wrapping<T>>(x)) : x;
  } else if constexpr (op == MapOp::sign)
    return x > 0 ? T(1) : (x < 0 ? T(-1) : x);
  else if constexpr (op == MapOp::bit_not)
    return static_cast<T>(~x);
  else if constexpr (op == MapOp::relu)
    return x < 0 ? T(0) : x;
  else if constexpr (kIsInt<T>)
    return x;  // floor, ceil, round and trunc of an integer
  else if constexpr (op == MapOp::floor)
    return m_floor(x);
  else if constexpr (op == MapOp::ceil)
    return m_ceil(x);
  else if constexpr (op == MapOp::round)
    return m_rint(x);
  else if constexpr (op == MapOp::trunc)
    return m_trunc(x);
  else if constexpr (op == MapOp::sqrt)
    return m_sqrt(x);
  else if constexpr (op == MapOp::reciprocal)
    return T(1) / x;
  else if constexpr (op >= MapOp::exp && op <= MapOp::erf)
    return elementary_function<op>(x);
  else
    return activation_function<op>(x);
}

template <MapOp op, class T>
T int_mod(T a, T b) {
  if (b == 0) return 0;
  if constexpr (kIsSigned<T>) {
    if (b == -1) return 0;
    const T r = static_cast<T>(a % b);
    return op == MapOp::floor_mod && r != 0 && ((r < 0) != (b < 0)) ? static_cast<T>(r + b) : r;
  } else {
    return static_cast<T>(a % b);
  }
}

// Integer powers by squaring, wrapping; a negative exponent gives the truncated quotient 1 / a^n.
template <class T>
T int_pow(T base, T exponent) {
  if (exponent < 0)
    return base == 1 ? T(1) : (base == static_cast<T>(-1) ? (exponent % 2 != 0 ? static_cast<T>(-1) : T(1)) : T(0));
  Wrapping<T> result = 1, factor = static_cast<Wrapping<T>>(base);
  for (auto e = static_cast<Wrapping<T>>(exponent); e != 0; e = static_cast<Wrapping<T>>(e >> 1)) {
    if ((e & 1) != 0) result = static_cast<Wrapping<T>>(result * factor);
    factor = static_cast<Wrapping<T>>(factor * factor);
  }
  return static_cast<T>(result);
}

template <MapOp op, class T>
T int_arithmetic(T a, T b) {
  using W = Wrapping<T>;
  constexpr int kBits = static_cast<int>(sizeof(T)) * 8;
  if constexpr (op == MapOp::add)
    return static_cast<T>(static_cast<W>(a) + static_cast<W>(b));
  else if constexpr (op == MapOp::sub)
    return static_cast<T>(static_cast<W>(a) - static_cast<W>(b));
  else if constexpr (op == MapOp::mul)
    return static_cast<T>(static_cast<uint64_t>(static_cast<W>(a)) * static_cast<uint64_t>(static_cast<W>(b)));
  else if constexpr (op == MapOp::div) {
    if (b == 0) return 0;
    if constexpr (kIsSigned<T>) {
      if (b == -1) return static_cast<T>(W(0) - static_cast<W>(a));
    }
    return static_cast<T>(a / b);
  } else if constexpr (op == MapOp::pow)
    return int_pow(a, b);
  else if constexpr (op == MapOp::min)
    return a < b ? a : b;
  else if constexpr (op == MapOp::max)
    return a > b ? a : b;
  else if constexpr (op == MapOp::bit_and)
    return static_cast<T>(a & b);
  else if constexpr (op == MapOp::bit_or)
    return static_cast<T>(a | b);
  else if constexpr (op == MapOp::bit_xor)
    return static_cast<T>(a ^ b);
  else if constexpr (op == MapOp::shift_left)
    return b < 0 || b >= kBits ? T(0) : static_cast<T>(static_cast<W>(a) << b);
  else if constexpr (op == MapOp::shift_right)
    return b < 0 || b >= kBits ? (a < 0 ? static_cast<T>(-1) : T(0)) : static_cast<T>(a >> b);
  else
    return int_mod<op>(a, b);
}

template <MapOp op, class T>
T float_arithmetic(T a, T b) {
  if constexpr (op == MapOp::add)
    return a + b;
  else if constexpr (op == MapOp::sub)
    return a - b;
  else if constexpr (op == MapOp::mul)
    return a * b;
  else if constexpr (op == MapOp::div)
    return a / b;
  else if constexpr (op == MapOp::pow)
    return m_pow(a, b);
  else if constexpr (op == MapOp::min)
    return a != a || a < b ? a : b;
  else if constexpr (op == MapOp::max)
    return a != a || a > b ? a : b;
  else if constexpr (op == MapOp::atan2)
    return m_atan2(a, b);
  else {
    const T r = m_fmod(a, b);
    return op == MapOp::floor_mod && r != 0 && ((r < 0) != (b < 0)) ? r + b : r;
  }
}

// Two operands.
template <MapOp op, class T>
MapResult<op, T> apply_map_op(T a, T b) {
  if constexpr (kIsBool<T>) {
    if constexpr (op == MapOp::logical_and)
      return {static_cast<uint8_t>(a.value & b.value)};
    else if constexpr (op == MapOp::logical_or)
      return {static_cast<uint8_t>(a.value | b.value)};
    else if constexpr (op == MapOp::eq)
      return {static_cast<uint8_t>(a.value == b.value)};
    else
      return {static_cast<uint8_t>(a.value != b.value)};  // ne and xor
  } else if constexpr (op == MapOp::eq)
    return {static_cast<uint8_t>(a == b)};
  else if constexpr (op == MapOp::ne)
    return {static_cast<uint8_t>(a != b)};
  else if constexpr (op == MapOp::lt)
    return {static_cast<uint8_t>(a < b)};
  else if constexpr (op == MapOp::le)
    return {static_cast<uint8_t>(a <= b)};
  else if constexpr (op == MapOp::gt)
    return {static_cast<uint8_t>(a > b)};
  else if constexpr (op == MapOp::ge)
    return {static_cast<uint8_t>(a >= b)};
  else if constexpr (kIsInt<T>)
    return int_arithmetic<op>(a, b);
  else
    return float_arithmetic<op>(a, b);
}

// ---- conversions ----

inline uint32_t float_bits(float x) { return __builtin_bit_cast(uint32_t, x); }
inline float bits_float(uint32_t x) { return __builtin_bit_cast(float, x); }

inline float half_to_float(uint16_t h) {
  const uint32_t magnitude = static_cast<uint32_t>(h & 0x7fffu) << 13;
  const float scaled = bits_float(magnitude) * 0x1p112f;  // moves the exponent bias; subnormal halves come out right
  const uint32_t bits = (h & 0x7c00u) == 0x7c00u ? (magnitude | 0x7f800000u) : float_bits(scaled);
  return bits_float(bits | (static_cast<uint32_t>(h & 0x8000u) << 16));
}

inline uint16_t float_to_half(float x) {
  const uint32_t bits = float_bits(x), magnitude = bits & 0x7fffffffu, sign = (bits >> 16) & 0x8000u;
  const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const uint32_t subnormal = float_bits(bits_float(magnitude < 0x38800000u ? magnitude : 0u) + 0.5f) - 0x3f000000u;
  const uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
  const uint32_t large = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  return static_cast<uint16_t>(sign | (magnitude >= 0x477ff000u ? large : finite));
}

inline float bfloat16_to_float(uint16_t h) { return bits_float(static_cast<uint32_t>(h) << 16); }

inline uint16_t float_to_bfloat16(float x) {
  const uint32_t bits = float_bits(x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? ((bits >> 16) | 0x40u) : rounded);
}

// Float registers whose value was rounded to a narrower type; marks the target of a conversion.
struct RoundedToHalf {
  float value;
};
struct RoundedToBFloat16 {
  float value;
};

template <class T>
constexpr T lowest_int() {
  if constexpr (kIsSigned<T>)
    return static_cast<T>(Wrapping<T>(1) << (sizeof(T) * 8 - 1));
  else
    return T(0);
}
template <class T>
constexpr T highest_int() {
  return static_cast<T>(~static_cast<Wrapping<T>>(lowest_int<T>()));
}

// Truncation toward zero, saturated; NaN gives 0.
template <class To, class From>
To float_to_int(From x) {
  constexpr From low = static_cast<From>(lowest_int<To>());
  constexpr From limit = static_cast<From>((highest_int<To>() >> 1) + 1) * 2;  // one above the largest value, exact
  if (x != x) return 0;
  if (x < low) return lowest_int<To>();
  return x >= limit ? highest_int<To>() : static_cast<To>(x);
}

template <class To, class From>
To int_to_int_saturated(From x) {
  if constexpr (kIsSigned<From>) {
    if (x < 0)
      return kIsSigned<To> && static_cast<int64_t>(x) >= static_cast<int64_t>(lowest_int<To>()) ? static_cast<To>(x)
                                                                                                : lowest_int<To>();
  }
  return static_cast<uint64_t>(x) > static_cast<uint64_t>(highest_int<To>()) ? highest_int<To>() : static_cast<To>(x);
}

template <class To, bool saturate, class From>
To convert_scalar(From x) {
  if constexpr (kIsBool<From>) {
    if constexpr (kIsBool<To>)
      return x;
    else
      return convert_scalar<To, saturate>(x.value);
  } else if constexpr (kIsBool<To>)
    return {static_cast<uint8_t>(x != 0)};
  else if constexpr (kSame<To, RoundedToHalf>)
    return {half_to_float(float_to_half(static_cast<float>(x)))};
  else if constexpr (kSame<To, RoundedToBFloat16>)
    return {bfloat16_to_float(float_to_bfloat16(static_cast<float>(x)))};
  else if constexpr (kIsFloat<From> && kIsInt<To>)
    return float_to_int<To>(x);
  else if constexpr (saturate && kIsInt<From> && kIsInt<To>)
    return int_to_int_saturated<To>(x);
  else
    return static_cast<To>(x);
}

}  // namespace lathe::cpu::LATHE_ISA
