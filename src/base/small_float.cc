#include "base/small_float.h"

#include <cmath>

#include "base/error.h"

namespace lathe {
namespace {

struct Format {
  int exponent_bits, mantissa_bits, bias;
  bool fnuz, has_infinity, has_nan;
  int sign_shift() const { return exponent_bits + mantissa_bits; }
  int max_exponent() const { return (1 << exponent_bits) - 1; }
};

Format format_of(DType type) {
  switch (type) {
    case DType::f8e4m3: return {4, 3, 7, false, false, true};
    case DType::f8e5m2: return {5, 2, 15, false, true, true};
    case DType::f8e4m3fnuz: return {4, 3, 8, true, false, true};
    case DType::f8e5m2fnuz: return {5, 2, 16, true, false, true};
    case DType::f4e2m1: return {2, 1, 1, false, false, false};
    default: fail(ErrorCode::internal, "{} is not a small float", to_string(type));
  }
}

// Largest finite magnitude, as exponent and mantissa bits together.
int largest_finite(const Format& f) {
  const int all_ones = (1 << f.sign_shift()) - 1;
  if (f.has_infinity) return all_ones - (1 << f.mantissa_bits);
  return f.has_nan && !f.fnuz ? all_ones - 1 : all_ones;
}

uint8_t nan_bits(const Format& f) { return f.fnuz ? 0x80 : static_cast<uint8_t>((1 << f.sign_shift()) - 1); }

float e8m0_to_float(uint8_t bits) { return bits == 0xff ? NAN : std::ldexp(1.0f, static_cast<int>(bits) - 127); }

uint8_t e8m0_from_float(float value, bool saturate) {
  constexpr int kLargest = 0xfe, kNan = 0xff;
  if (std::isnan(value)) return kNan;
  if (std::isinf(value)) return saturate ? kLargest : kNan;
  int exponent = 0;
  const float mantissa = std::frexp(std::fabs(value), &exponent);  // in [0.5, 1), or 0
  const int biased = mantissa == 0 ? -1 : exponent - 1 + 127 + (mantissa > 0.5f ? 1 : 0);
  if (biased >= 0 && biased <= kLargest) return static_cast<uint8_t>(biased);
  if (!saturate) return kNan;
  return biased < 0 ? 0 : kLargest;
}

}  // namespace

float small_float_to_float(DType type, uint8_t bits) {
  if (type == DType::f8e8m0) return e8m0_to_float(bits);
  const Format f = format_of(type);
  const int magnitude = bits & ((1 << f.sign_shift()) - 1);
  const bool negative = ((bits >> f.sign_shift()) & 1) != 0;
  const int exponent = magnitude >> f.mantissa_bits;
  const int mantissa = magnitude & ((1 << f.mantissa_bits) - 1);
  if (f.fnuz && bits == 0x80) return NAN;
  if (f.has_infinity && exponent == f.max_exponent()) return mantissa != 0 ? NAN : (negative ? -INFINITY : INFINITY);
  if (f.has_nan && !f.fnuz && magnitude > largest_finite(f)) return NAN;
  const float value = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), 1 - f.bias - f.mantissa_bits)
                                    : std::ldexp(static_cast<float>(mantissa + (1 << f.mantissa_bits)),
                                                 exponent - f.bias - f.mantissa_bits);
  return negative ? -value : value;
}

uint8_t small_float_from_float(DType type, float value, bool saturate) {
  if (type == DType::f8e8m0) return e8m0_from_float(value, saturate);
  const Format f = format_of(type);
  const auto sign = static_cast<uint8_t>(std::signbit(value) ? 1 << f.sign_shift() : 0);
  if (std::isnan(value)) return f.has_nan ? nan_bits(f) : static_cast<uint8_t>(1 << f.sign_shift());
  const int largest = largest_finite(f);
  const auto overflow = [&]() -> uint8_t {
    if (saturate || !f.has_nan) return static_cast<uint8_t>(sign | largest);
    if (f.has_infinity) return static_cast<uint8_t>(sign | (largest + 1));
    return f.fnuz ? 0x80 : static_cast<uint8_t>(sign | nan_bits(f));
  };
  if (std::isinf(value)) return overflow();
  int exponent = 0;
  std::frexp(value, &exponent);
  const int biased = value == 0 ? 0 : exponent - 1 + f.bias;
  // Scale so that one unit is the last mantissa bit, round to even, and rebuild; a carry moves into the exponent by
  // itself.
  const int scale = biased >= 1 ? biased : 1;
  const auto units = static_cast<int>(std::nearbyint(std::ldexp(std::fabs(value), f.bias + f.mantissa_bits - scale)));
  const int magnitude = units + ((scale - 1) << f.mantissa_bits);
  if (magnitude > largest) return overflow();
  if (f.fnuz && magnitude == 0) return 0;
  return static_cast<uint8_t>(sign | magnitude);
}

}  // namespace lathe
