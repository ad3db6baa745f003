// What each instruction of an expression program computes. Floats of every width are held as double: one operation in
// double, rounded to the type, is as exact as one in that type (for add, sub, mul, div and sqrt it is the same number).
#include <cmath>
#include <limits>

#include "graph/reference/map.h"

namespace lathe::reference {
namespace {

using Floats = std::vector<double>;
using Ints = std::vector<int64_t>;
using Strings = std::vector<const std::string*>;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

template <class In, class Out, class F>
void each(const std::vector<In>& a, std::vector<Out>& out, F f) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = f(a[i]);
}

template <class In, class Out, class F>
void each(const std::vector<In>& a, const std::vector<In>& b, std::vector<Out>& out, F f) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = f(a[i], b[i]);
}

[[noreturn]] void refuse(const MapInstr& instr, DType type) {
  fail(ErrorCode::invalid_model, "{} is not defined on {}", to_string(instr.op), to_string(type));
}

double sign(double x) { return std::isnan(x) ? x : (x > 0) - (x < 0); }
double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
double softplus(double x) { return std::isnan(x) ? x : std::fmax(x, 0) + std::log1p(std::exp(-std::abs(x))); }
double gelu_erf(double x) { return 0.5 * x * std::erfc(-x * M_SQRT1_2); }  // erfc keeps the small values for x << 0
double gelu_tanh(double x) { return 0.5 * x * (1 + std::tanh(M_2_SQRTPI * M_SQRT1_2 * (x + 0.044715 * x * x * x))); }
double hard_swish(double x) { return x * std::fmin(std::fmax(x / 6 + 0.5, 0), 1); }

double floor_mod(double a, double b) {
  const double r = std::fmod(a, b);
  if (r == 0) return std::copysign(0.0, b);
  return (r < 0) != (b < 0) ? r + b : r;
}

double min_or_nan(double a, double b) { return std::isnan(a) || std::isnan(b) ? kNan : std::fmin(a, b); }
double max_or_nan(double a, double b) { return std::isnan(a) || std::isnan(b) ? kNan : std::fmax(a, b); }

void trigonometry(const MapInstr& instr, const Floats& a, Floats& out) {
  switch (instr.op) {
    case MapOp::sin: return each(a, out, [](double x) { return std::sin(x); });
    case MapOp::cos: return each(a, out, [](double x) { return std::cos(x); });
    case MapOp::tan: return each(a, out, [](double x) { return std::tan(x); });
    case MapOp::asin: return each(a, out, [](double x) { return std::asin(x); });
    case MapOp::acos: return each(a, out, [](double x) { return std::acos(x); });
    case MapOp::atan: return each(a, out, [](double x) { return std::atan(x); });
    case MapOp::sinh: return each(a, out, [](double x) { return std::sinh(x); });
    case MapOp::cosh: return each(a, out, [](double x) { return std::cosh(x); });
    case MapOp::asinh: return each(a, out, [](double x) { return std::asinh(x); });
    case MapOp::acosh: return each(a, out, [](double x) { return std::acosh(x); });
    case MapOp::atanh: return each(a, out, [](double x) { return std::atanh(x); });
    case MapOp::tanh: return each(a, out, [](double x) { return std::tanh(x); });
    default: refuse(instr, instr.type);
  }
}

void unary(const MapInstr& instr, const Floats& a, Floats& out) {
  switch (instr.op) {
    case MapOp::neg: return each(a, out, [](double x) { return -x; });
    case MapOp::abs: return each(a, out, [](double x) { return std::abs(x); });
    case MapOp::sign: return each(a, out, sign);
    case MapOp::floor: return each(a, out, [](double x) { return std::floor(x); });
    case MapOp::ceil: return each(a, out, [](double x) { return std::ceil(x); });
    case MapOp::round: return each(a, out, [](double x) { return std::nearbyint(x); });  // half to even
    case MapOp::trunc: return each(a, out, [](double x) { return std::trunc(x); });
    case MapOp::sqrt: return each(a, out, [](double x) { return std::sqrt(x); });
    case MapOp::reciprocal: return each(a, out, [](double x) { return 1 / x; });
    case MapOp::exp: return each(a, out, [](double x) { return std::exp(x); });
    case MapOp::log: return each(a, out, [](double x) { return std::log(x); });
    case MapOp::expm1: return each(a, out, [](double x) { return std::expm1(x); });
    case MapOp::log1p: return each(a, out, [](double x) { return std::log1p(x); });
    case MapOp::erf: return each(a, out, [](double x) { return std::erf(x); });
    case MapOp::sigmoid: return each(a, out, sigmoid);
    case MapOp::softplus: return each(a, out, softplus);
    case MapOp::relu: return each(a, out, [](double x) { return x < 0 ? 0 : x; });
    case MapOp::silu: return each(a, out, [](double x) { return x * sigmoid(x); });
    case MapOp::gelu_erf: return each(a, out, gelu_erf);
    case MapOp::gelu_tanh: return each(a, out, gelu_tanh);
    case MapOp::mish: return each(a, out, [](double x) { return x * std::tanh(softplus(x)); });
    case MapOp::hard_swish: return each(a, out, hard_swish);
    default: return trigonometry(instr, a, out);
  }
}

// Arithmetic on unsigned 64-bit values wraps by definition; the caller wraps to the type afterwards.
uint64_t bits(int64_t x) { return static_cast<uint64_t>(x); }
int64_t value(uint64_t x) { return static_cast<int64_t>(x); }

void unary(const MapInstr& instr, const Ints& a, Ints& out) {
  const bool is_signed = is_signed_int(instr.type);
  switch (instr.op) {
    case MapOp::neg: return each(a, out, [](int64_t x) { return value(0 - bits(x)); });
    case MapOp::abs: return each(a, out, [=](int64_t x) { return is_signed && x < 0 ? value(0 - bits(x)) : x; });
    case MapOp::sign: return each(a, out, [=](int64_t x) -> int64_t { return is_signed && x < 0 ? -1 : x != 0; });
    case MapOp::relu: return each(a, out, [=](int64_t x) { return is_signed && x < 0 ? 0 : x; });
    case MapOp::bit_not: return each(a, out, [](int64_t x) { return ~x; });
    case MapOp::logical_not: return each(a, out, [](int64_t x) -> int64_t { return x == 0; });
    case MapOp::floor:
    case MapOp::ceil:
    case MapOp::round:
    case MapOp::trunc: out = a; return;
    default: refuse(instr, instr.type);
  }
}

void binary(const MapInstr& instr, const Floats& a, const Floats& b, Floats& out) {
  switch (instr.op) {
    case MapOp::add: return each(a, b, out, [](double x, double y) { return x + y; });
    case MapOp::sub: return each(a, b, out, [](double x, double y) { return x - y; });
    case MapOp::mul: return each(a, b, out, [](double x, double y) { return x * y; });
    case MapOp::div: return each(a, b, out, [](double x, double y) { return x / y; });
    case MapOp::floor_mod: return each(a, b, out, floor_mod);
    case MapOp::trunc_mod: return each(a, b, out, [](double x, double y) { return std::fmod(x, y); });
    case MapOp::pow: return each(a, b, out, [](double x, double y) { return std::pow(x, y); });
    case MapOp::min: return each(a, b, out, min_or_nan);
    case MapOp::max: return each(a, b, out, max_or_nan);
    case MapOp::atan2: return each(a, b, out, [](double x, double y) { return std::atan2(x, y); });
    default: refuse(instr, instr.type);
  }
}

// Integers: T is int64_t, or uint64_t for u64, whose values do not fit.

template <class T>
T quotient(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return value(0 - bits(a));
  return a / b;
}

template <class T>
T remainder(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return 0;
  return a % b;
}

template <class T>
T remainder_like_divisor(T a, T b) {
  const T r = remainder(a, b);
  if constexpr (std::is_signed_v<T>)
    if (r != 0 && (r < 0) != (b < 0)) return r + b;
  return r;
}

template <class T>
T power(T base, T exponent) {
  if constexpr (std::is_signed_v<T>) {
    if (exponent < 0) {  // 1 / base^n, truncated
      if (base == 1) return 1;
      return base == -1 ? (exponent % 2 == 0 ? 1 : -1) : 0;
    }
  }
  uint64_t result = 1, square = static_cast<uint64_t>(base);
  for (auto n = static_cast<uint64_t>(exponent); n != 0; n >>= 1, square *= square)
    if ((n & 1) != 0) result *= square;
  return static_cast<T>(result);
}

// What is shifted out of the type is lost, also when everything is.
template <class T>
T shifted(T x, T by, bool left, int width) {
  if (static_cast<uint64_t>(by) >= static_cast<uint64_t>(width)) return !left && x < 0 ? static_cast<T>(-1) : T{0};
  return left ? static_cast<T>(static_cast<uint64_t>(x) << by) : static_cast<T>(x >> by);
}

template <class T>
void binary(const MapInstr& instr, const Ints& a, const Ints& b, Ints& out) {
  const auto apply = [&](auto f) {
    each(a, b, out,
         [f](int64_t x, int64_t y) { return static_cast<int64_t>(f(static_cast<T>(x), static_cast<T>(y))); });
  };
  const int width = bit_width(instr.type);
  switch (instr.op) {
    case MapOp::add:
      return apply([](T x, T y) { return bits(static_cast<int64_t>(x)) + bits(static_cast<int64_t>(y)); });
    case MapOp::sub:
      return apply([](T x, T y) { return bits(static_cast<int64_t>(x)) - bits(static_cast<int64_t>(y)); });
    case MapOp::mul:
      return apply([](T x, T y) { return bits(static_cast<int64_t>(x)) * bits(static_cast<int64_t>(y)); });
    case MapOp::div: return apply(quotient<T>);
    case MapOp::floor_mod: return apply(remainder_like_divisor<T>);
    case MapOp::trunc_mod: return apply(remainder<T>);
    case MapOp::pow: return apply(power<T>);
    case MapOp::min: return apply([](T x, T y) { return x < y ? x : y; });
    case MapOp::max: return apply([](T x, T y) { return x < y ? y : x; });
    case MapOp::logical_and: return apply([](T x, T y) { return x != 0 && y != 0; });
    case MapOp::logical_or: return apply([](T x, T y) { return x != 0 || y != 0; });
    case MapOp::logical_xor: return apply([](T x, T y) { return (x != 0) != (y != 0); });
    case MapOp::bit_and: return apply([](T x, T y) { return x & y; });
    case MapOp::bit_or: return apply([](T x, T y) { return x | y; });
    case MapOp::bit_xor: return apply([](T x, T y) { return x ^ y; });
    case MapOp::shift_left: return apply([=](T x, T by) { return shifted(x, by, /*left=*/true, width); });
    case MapOp::shift_right: return apply([=](T x, T by) { return shifted(x, by, /*left=*/false, width); });
    default: refuse(instr, instr.type);
  }
}

template <class T, class In>
void compare(MapOp op, const std::vector<In>& a, const std::vector<In>& b, Ints& out) {
  const auto apply = [&](auto f) {
    each(a, b, out, [f](In x, In y) -> int64_t { return f(static_cast<T>(x), static_cast<T>(y)); });
  };
  switch (op) {
    case MapOp::eq: return apply([](T x, T y) { return x == y; });
    case MapOp::ne: return apply([](T x, T y) { return x != y; });
    case MapOp::lt: return apply([](T x, T y) { return x < y; });
    case MapOp::le: return apply([](T x, T y) { return x <= y; });
    case MapOp::gt: return apply([](T x, T y) { return x > y; });
    default: return apply([](T x, T y) { return x >= y; });
  }
}

void compare(const MapInstr& instr, DType type, const Register& a, const Register& b, Ints& out) {
  if (const auto* x = std::get_if<Floats>(&a)) return compare<double>(instr.op, *x, std::get<Floats>(b), out);
  if (const auto* x = std::get_if<Ints>(&a)) {
    if (type == DType::u64) return compare<uint64_t>(instr.op, *x, std::get<Ints>(b), out);
    return compare<int64_t>(instr.op, *x, std::get<Ints>(b), out);
  }
  if (instr.op != MapOp::eq && instr.op != MapOp::ne) refuse(instr, type);
  each(std::get<Strings>(a), std::get<Strings>(b), out,
       [&](const std::string* x, const std::string* y) -> int64_t { return (*x == *y) == (instr.op == MapOp::eq); });
}

// Truncates; what is out of range becomes the nearest integer of the range, NaN becomes 0.
int64_t to_integer(double x, const IntRange& range) {
  if (std::isnan(x)) return 0;
  const double truncated = std::trunc(x);
  if (truncated <= static_cast<double>(range.low)) return range.low;
  if (truncated >= static_cast<double>(range.high)) return value(range.high);
  return truncated >= 0x1p63 ? value(static_cast<uint64_t>(truncated)) : static_cast<int64_t>(truncated);
}

// Where ONNX leaves the result open a cast saturates; for the types below a byte it says that the low bits are kept.
int64_t cast_to_integer(double x, DType to, bool saturate) {
  if (saturate || bit_width(to) >= 8) return to_integer(x, range_of(to));
  return wrap_to(to, to_integer(x, range_of(DType::i64)));
}

// Saturates an integer of the type `from` to a range.
int64_t clamp(int64_t x, DType from, const IntRange& range) {
  const bool negative = x < 0 && from != DType::u64;
  if (negative) return std::max(x, range.low);
  return value(std::min(bits(x), range.high));
}

// Integers beyond 2^53 must not be rounded to double on their way to a narrower float.
double to_float(int64_t x, DType from, DType to) {
  const bool is_unsigned = from == DType::u64;
  if (to == DType::f64) return is_unsigned ? static_cast<double>(bits(x)) : static_cast<double>(x);
  return is_unsigned ? static_cast<float>(bits(x)) : static_cast<float>(x);
}

void cast(const MapInstr& instr, DType from, const Register& a, Register& result) {
  const DType to = instr.type;
  const bool saturate = instr.op == MapOp::cast_sat;
  if (from == DType::string || to == DType::string) refuse(instr, from == DType::string ? from : to);
  if (is_float(to)) {
    Floats& out = std::get<Floats>(result);
    if (is_float(from))
      each(std::get<Floats>(a), out, [](double x) { return x; });
    else
      each(std::get<Ints>(a), out, [=](int64_t x) { return to_float(x, from, to); });
    return each(out, out, [=](double x) { return round_to(to, x, saturate); });
  }
  Ints& out = std::get<Ints>(result);
  if (to == DType::boolean) {
    if (is_float(from)) return each(std::get<Floats>(a), out, [](double x) -> int64_t { return x != 0; });
    return each(std::get<Ints>(a), out, [](int64_t x) -> int64_t { return x != 0; });
  }
  if (is_float(from)) return each(std::get<Floats>(a), out, [=](double x) { return cast_to_integer(x, to, saturate); });
  if (saturate) return each(std::get<Ints>(a), out, [=](int64_t x) { return clamp(x, from, range_of(to)); });
  each(std::get<Ints>(a), out, [=](int64_t x) { return wrap_to(to, x); });
}

void select(const Ints& condition, const Register& a, const Register& b, Register& result) {
  std::visit(
      [&](auto& out) {
        using V = std::decay_t<decltype(out)>;
        const V &x = std::get<V>(a), &y = std::get<V>(b);
        for (size_t i = 0; i < out.size(); ++i) out[i] = condition[i] != 0 ? x[i] : y[i];
      },
      result);
}

void classify(const MapInstr& instr, const Register& a, Ints& out) {
  const auto* x = std::get_if<Floats>(&a);
  if (x == nullptr)
    std::fill(out.begin(), out.end(), 0);  // integers are neither NaN nor infinite
  else if (instr.op == MapOp::is_nan)
    each(*x, out, [](double v) -> int64_t { return std::isnan(v); });
  else
    each(*x, out, [](double v) -> int64_t { return std::isinf(v); });
}

}  // namespace

void apply_instruction(const MapInstr& instr, DType operand_type, std::span<const Register* const> operands,
                       Register& out) {
  const Register& a = *operands[0];
  if (instr.op == MapOp::cast || instr.op == MapOp::cast_sat) return cast(instr, operand_type, a, out);
  if (instr.op == MapOp::select) return select(std::get<Ints>(a), *operands[1], *operands[2], out);
  if (instr.op == MapOp::is_nan || instr.op == MapOp::is_inf) return classify(instr, a, std::get<Ints>(out));
  if (is_comparison(instr.op)) return compare(instr, operand_type, a, *operands[1], std::get<Ints>(out));
  if (operand_type == DType::string) refuse(instr, operand_type);
  if (auto* floats = std::get_if<Floats>(&out)) {
    if (operands.size() == 1)
      unary(instr, std::get<Floats>(a), *floats);
    else
      binary(instr, std::get<Floats>(a), std::get<Floats>(*operands[1]), *floats);
    return each(*floats, *floats, [&](double x) { return round_to(instr.type, x); });
  }
  if (is_float(operand_type)) refuse(instr, operand_type);  // logic on floats
  Ints& ints = std::get<Ints>(out);
  if (operands.size() == 1)
    unary(instr, std::get<Ints>(a), ints);
  else if (instr.type == DType::u64)
    binary<uint64_t>(instr, std::get<Ints>(a), std::get<Ints>(*operands[1]), ints);
  else
    binary<int64_t>(instr, std::get<Ints>(a), std::get<Ints>(*operands[1]), ints);
  each(ints, ints, [&](int64_t x) { return wrap_to(instr.type, x); });
}

}  // namespace lathe::reference
