#include "onnx/symbolic.h"

#include <cmath>
#include <numeric>

#include "base/error.h"

namespace lathe::onnx {
namespace {

// Bounds within which a float ratio of integers, floored or rounded up, cannot be spoiled by f32 rounding for any
// realistic size: a non-integer ratio is at least 1 / kMaxDenominator away from the next integer.
constexpr int64_t kMaxDenominator = 1024;
constexpr double kMaxNumerator = 1 << 24;

double rounded(double value, DType type) {
  return type == DType::f32 ? static_cast<double>(static_cast<float>(value)) : value;
}

// Applies a double function to constants.
template <class F>
std::optional<Element> on_numbers(const Element& a, const Element& b, DType type, F&& f) {
  const auto x = a.number(), y = b.number();
  if (!x || !y) return std::nullopt;
  return Element::real(rounded(f(*x, *y), type));
}

// Exact arithmetic serves integers, and floats that depend on sizes; float constants round as the model's type does.
bool is_exact(const Element& a, const Element& b, DType type) {
  if (a.is_real() || b.is_real()) return false;
  return !is_float(type) || !a.number() || !b.number();
}

// What sums, products, quotients and maxima of numbers that are not negative are as well.
std::optional<Element> keep_sign(std::optional<Element> result, const Element& a, const Element& b) {
  if (!result) return result;
  return result->nonnegative(a.is_nonnegative() && b.is_nonnegative());
}

bool is_negative_number(const Element& e) {
  const auto number = e.number();
  return number && *number < 0;
}

bool is_power_of_two(int64_t v) { return (v & (v - 1)) == 0; }

}  // namespace

Element Element::size(Dim value) { return Element(std::move(value)).nonnegative(true); }

Element Element::nonnegative(bool known) const {
  Element e = *this;
  e.nonnegative_ = nonnegative_ || known;
  return e;
}

Element Element::real(double value) {
  for (int64_t denominator = 1; denominator <= kMaxDenominator; denominator *= 2) {
    const double numerator = value * static_cast<double>(denominator);
    if (std::fabs(numerator) > kMaxNumerator) break;
    if (numerator == std::trunc(numerator) && !(numerator == 0 && std::signbit(numerator))) {
      Element e{Dim(static_cast<int64_t>(numerator))};
      e.denominator_ = denominator;
      return e;
    }
  }
  Element e{Dim(0)};
  e.real_ = value;
  return e;
}

std::optional<Element> Element::ratio(Dim numerator, int64_t denominator) {
  if (denominator == 0) return std::nullopt;
  if (denominator < 0) {
    numerator = -numerator;
    denominator = -denominator;
  }
  // Reduce by the denominator's prime factors where the division is exact.
  for (int64_t prime = 2; prime <= denominator; ++prime) {
    while (denominator % prime == 0) {
      const Dim quotient = floor_div(numerator, Dim(prime));
      if (!(quotient * Dim(prime) == numerator)) break;
      numerator = quotient;
      denominator /= prime;
    }
  }
  if (denominator > kMaxDenominator) return std::nullopt;
  Element e{std::move(numerator)};
  e.denominator_ = denominator;
  return e;
}

std::optional<int64_t> Element::integer() const {
  if (real_ || denominator_ != 1 || !numerator_.is_constant()) return std::nullopt;
  return numerator_.value();
}

std::optional<double> Element::number() const {
  if (real_) return real_;
  if (!numerator_.is_constant()) return std::nullopt;
  return static_cast<double>(numerator_.value()) / static_cast<double>(denominator_);
}

bool Element::is_nonnegative() const { return nonnegative_ || (real_ ? *real_ >= 0 : numerator_.is_nonnegative()); }

SymbolicTensor SymbolicTensor::vector(const Shape& sizes) {
  SymbolicTensor t{DType::i64, {static_cast<int64_t>(sizes.size())}, {}};
  for (const Dim& size : sizes) t.elements.push_back(Element::size(size));
  return t;
}

std::optional<SymbolicTensor> SymbolicTensor::from(const Tensor& tensor) {
  const bool real = tensor.dtype() == DType::f32 || tensor.dtype() == DType::f64;
  const bool integral = is_integer(tensor.dtype()) || tensor.dtype() == DType::boolean;
  if (!(integral || real) || tensor.elements() > (real ? kMaxFloats : kMaxElements)) return std::nullopt;
  SymbolicTensor t{tensor.dtype(), tensor.dims(), {}};
  t.elements.reserve(static_cast<size_t>(tensor.elements()));
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if (real)
      t.elements.push_back(Element::real(tensor.read_double(i)));
    else
      t.elements.emplace_back(Dim(tensor.read_int(i)));
  }
  return t;
}

std::optional<Tensor> SymbolicTensor::to_tensor() const {
  for (const Element& e : elements)
    if (!e.number()) return std::nullopt;
  Tensor t(dtype, dims);
  for (int64_t i = 0; i < size(); ++i) {
    const Element& e = elements[static_cast<size_t>(i)];
    if (is_float(dtype))
      t.write_double(i, *e.number());
    else
      t.write_int(i, *e.integer());
  }
  return t;
}

std::optional<Shape> SymbolicTensor::to_shape() const {
  Shape shape;
  for (const Element& e : elements) {
    if (e.dim() == nullptr) return std::nullopt;
    shape.push_back(*e.dim());
  }
  return shape;
}

std::optional<std::vector<int64_t>> SymbolicTensor::to_integers() const {
  std::vector<int64_t> values;
  for (const Element& e : elements) {
    const auto value = e.integer();
    if (!value) return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

std::optional<Element> add(const Element& a, const Element& b, DType type) {
  if (!is_exact(a, b, type)) return on_numbers(a, b, type, [](double x, double y) { return x + y; });
  const int64_t common = std::lcm(a.denominator(), b.denominator());
  const Dim sum = a.numerator() * Dim(common / a.denominator()) + b.numerator() * Dim(common / b.denominator());
  return keep_sign(Element::ratio(sum, common), a, b);
}

std::optional<Element> subtract(const Element& a, const Element& b, DType type) {
  const auto negative = multiply(b, Element(Dim(-1)), type);
  return negative ? add(a, *negative, type) : std::nullopt;
}

std::optional<Element> multiply(const Element& a, const Element& b, DType type) {
  if (!is_exact(a, b, type)) return on_numbers(a, b, type, [](double x, double y) { return x * y; });
  // h / 49 * 49 need not be h again in floating point.
  if (!is_power_of_two(a.denominator()) || !is_power_of_two(b.denominator())) return std::nullopt;
  return keep_sign(Element::ratio(a.numerator() * b.numerator(), a.denominator() * b.denominator()), a, b);
}

std::optional<Element> divide(const Element& a, const Element& b, DType type) {
  if (is_float(type)) {
    const auto divisor = b.number();
    if (!is_exact(a, b, type) || (divisor && *divisor == 0))
      return on_numbers(a, b, type, [](double x, double y) { return x / y; });
    const Dim numerator = a.numerator() * Dim(b.denominator());
    if (b.numerator().is_constant())
      return keep_sign(Element::ratio(numerator, a.denominator() * b.numerator().value()), a, b);
    const Dim denominator = b.numerator() * Dim(a.denominator());
    const Dim quotient = floor_div(numerator, denominator);
    if (!(quotient * denominator == numerator)) return std::nullopt;
    return keep_sign(Element(quotient), a, b);
  }
  const auto divisor = b.integer(), dividend = a.integer();
  if (divisor && *divisor == 0) return std::nullopt;
  if (divisor && dividend) return *divisor == -1 ? Element(-Dim(*dividend)) : Element(Dim(*dividend / *divisor));
  const Dim quotient = floor_div(a.numerator(), b.numerator());
  const bool exact = quotient * b.numerator() == a.numerator();
  if (!exact && !(a.is_nonnegative() && b.is_nonnegative())) return std::nullopt;  // truncation is not floor there
  return keep_sign(Element(quotient), a, b);
}

std::optional<Element> modulo(const Element& a, const Element& b, DType type) {
  if (is_float(type) || (b.integer() && *b.integer() == 0)) return std::nullopt;
  return Element(mod(a.numerator(), b.numerator()));
}

std::optional<Element> minimum(const Element& a, const Element& b, DType type) {
  if (is_float(type)) return on_numbers(a, b, type, [](double x, double y) { return x < y ? x : y; });
  return keep_sign(Element(min(a.numerator(), b.numerator())), a, b);
}

std::optional<Element> maximum(const Element& a, const Element& b, DType type) {
  if (is_float(type)) return on_numbers(a, b, type, [](double x, double y) { return x > y ? x : y; });
  return Element(max(a.numerator(), b.numerator())).nonnegative(a.is_nonnegative() || b.is_nonnegative());
}

std::optional<Element> floor(const Element& a) {
  if (a.is_real()) return Element::real(std::floor(*a.number()));
  return Element(floor_div(a.numerator(), Dim(a.denominator()))).nonnegative(a.is_nonnegative());
}

std::optional<Element> ceil(const Element& a) {
  if (a.is_real()) return Element::real(std::ceil(*a.number()));
  return Element(ceil_div(a.numerator(), Dim(a.denominator()))).nonnegative(a.is_nonnegative());
}

std::optional<Element> square_root(const Element& a, DType type) {
  return on_numbers(a, a, type, [](double x, double) { return std::sqrt(x); });
}

std::optional<Element> cast(const Element& a, DType from, DType to) {
  if (to == DType::f32 || to == DType::f64) {
    if (const auto number = a.number()) return Element::real(rounded(*number, to));
    return a;
  }
  if (to == DType::boolean) {
    const auto zero = equal(a, Element(Dim(0)));
    return zero ? std::optional<Element>(Element(Dim(*zero ? 0 : 1))) : std::nullopt;
  }
  if (to != DType::i64 && to != DType::i32) return std::nullopt;  // narrower types wrap
  if (!is_float(from)) return a;
  if (const auto number = a.number()) {
    if (!(std::fabs(*number) < 0x1p31)) return std::nullopt;
    return Element(Dim(static_cast<int64_t>(*number)));
  }
  if (a.denominator() == 1) return a;
  return a.is_nonnegative() ? floor(a) : std::nullopt;
}

std::optional<bool> equal(const Element& a, const Element& b) {
  const auto x = a.number(), y = b.number();
  if (x && y) return *x == *y;
  if (a.is_real() || b.is_real()) return std::nullopt;
  if ((a.is_nonnegative() && is_negative_number(b)) || (b.is_nonnegative() && is_negative_number(a))) return false;
  const Dim difference = a.numerator() * Dim(b.denominator()) - b.numerator() * Dim(a.denominator());
  if (difference == Dim(0)) return true;
  if ((difference - Dim(1)).is_nonnegative() || (-difference - Dim(1)).is_nonnegative()) return false;
  return std::nullopt;
}

std::optional<bool> less(const Element& a, const Element& b) {
  const auto x = a.number(), y = b.number();
  if (x && y) return *x < *y;
  if (a.is_real() || b.is_real()) return std::nullopt;
  if (a.is_nonnegative() && (is_negative_number(b) || (y && *y == 0))) return false;
  if (b.is_nonnegative() && is_negative_number(a)) return true;
  const Dim difference = b.numerator() * Dim(a.denominator()) - a.numerator() * Dim(b.denominator());
  if ((difference - Dim(1)).is_nonnegative()) return true;
  if ((-difference).is_nonnegative()) return false;
  return std::nullopt;
}

}  // namespace lathe::onnx
