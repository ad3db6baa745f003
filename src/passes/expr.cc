#include "passes/expr.h"

#include <algorithm>
#include <cmath>

#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

constexpr int kMaxDegree = 8;
constexpr int kMaxDepth = 64;  // of operands, in patterns: what is nested deeper is no pattern of ours

bool is_float_cast(const Expr& e) {
  return (e.op() == MapOp::cast || e.op() == MapOp::cast_sat) && is_float(e.dtype()) && is_float(e.arg(0).dtype());
}

}  // namespace

Expr::Expr(Value* value) {
  const Map* map = producer_as<Map>(value);
  if (map == nullptr) {
    opaque_ = value;
    return;
  }
  *this = Expr(value->producer(), static_cast<int>(map->program.code().size()) - 1);
}

Expr::Expr(const Node* map, int instruction) : map_(map), instruction_(instruction) {
  const MapInstr& in = instr();
  if (in.op == MapOp::input) *this = Expr(map->input(static_cast<size_t>(in.args[0])));
}

const MapInstr& Expr::instr() const { return map_->as<Map>()->program.code()[static_cast<size_t>(instruction_)]; }

MapOp Expr::op() const { return is_opaque() ? MapOp::input : instr().op; }

Expr Expr::arg(int which) const { return Expr(map_, instr().args[static_cast<size_t>(which)]); }

DType Expr::dtype() const { return is_opaque() ? opaque_->dtype() : instr().type; }

std::optional<double> Expr::number() const {
  if (is_opaque()) return uniform_number(opaque_);
  if (op() == MapOp::constant) return is_float(instr().type) ? instr().real : static_cast<double>(instr().integer);
  if (is_float_cast(*this)) return arg(0).number();
  return std::nullopt;
}

Value* Expr::value() const {
  if (is_opaque()) return opaque_;
  const bool is_result = static_cast<size_t>(instruction_) + 1 == map_->as<Map>()->program.code().size();
  return is_result ? map_->output() : nullptr;
}

Expr Expr::without_casts() const {
  Expr e = *this;
  while (is_float_cast(e)) e = e.arg(0);
  return e;
}

namespace {

void multiply(Product& product, const Expr& base, double exponent) {
  for (Factor& f : product.factors)
    if (f.base == base) {
      f.exponent += exponent;
      return;
    }
  product.factors.push_back({base, exponent});
}

void flatten(const Expr& e, double exponent, std::span<const Expr> atoms, int depth, Product& product) {
  const auto is_atom = [&](const Expr& x) { return std::find(atoms.begin(), atoms.end(), x) != atoms.end(); };
  const std::optional<double> number = e.number();
  if (number) {
    product.coefficient *= std::pow(*number, exponent);
    return;
  }
  if (is_atom(e) || depth > kMaxDepth) return multiply(product, e, exponent);
  // Powers of products come apart for whole exponents only: sqrt(x * x) is not x.
  const bool whole = exponent == std::round(exponent);
  if (is_float_cast(e)) return flatten(e.arg(0), exponent, atoms, depth + 1, product);
  switch (whole ? e.op() : MapOp::input) {
    case MapOp::mul:
      flatten(e.arg(0), exponent, atoms, depth + 1, product);
      return flatten(e.arg(1), exponent, atoms, depth + 1, product);
    case MapOp::div:
      flatten(e.arg(0), exponent, atoms, depth + 1, product);
      return flatten(e.arg(1), -exponent, atoms, depth + 1, product);
    case MapOp::neg:
      product.coefficient *= std::pow(-1.0, exponent);
      return flatten(e.arg(0), exponent, atoms, depth + 1, product);
    case MapOp::reciprocal: return flatten(e.arg(0), -exponent, atoms, depth + 1, product);
    case MapOp::sqrt: return flatten(e.arg(0), 0.5 * exponent, atoms, depth + 1, product);
    case MapOp::pow:
      if (const auto c = e.arg(1).number()) return flatten(e.arg(0), *c * exponent, atoms, depth + 1, product);
      break;
    default: break;
  }
  multiply(product, e, exponent);
}

using MaybePolynomial = std::optional<Polynomial>;

Polynomial constant_polynomial(double c, size_t atoms) { return {{std::vector<int>(atoms, 0), c}}; }

MaybePolynomial sum(const MaybePolynomial& a, const MaybePolynomial& b, double sign) {
  if (!a || !b) return std::nullopt;
  Polynomial r = *a;
  for (const auto& [exponents, c] : *b) r[exponents] += sign * c;
  return r;
}

MaybePolynomial times(const MaybePolynomial& a, const MaybePolynomial& b) {
  if (!a || !b) return std::nullopt;
  Polynomial r;
  for (const auto& [ea, ca] : *a)
    for (const auto& [eb, cb] : *b) {
      std::vector<int> e = ea;
      int degree = 0;
      for (size_t i = 0; i < e.size(); ++i) degree += e[i] += eb[i];
      if (degree > kMaxDegree) return std::nullopt;
      r[e] += ca * cb;
    }
  return r;
}

MaybePolynomial polynomial(const Expr& e, std::span<const Expr> atoms, int depth) {
  if (depth > kMaxDepth) return std::nullopt;
  if (const auto it = std::find(atoms.begin(), atoms.end(), e); it != atoms.end()) {
    std::vector<int> exponents(atoms.size(), 0);
    exponents[static_cast<size_t>(it - atoms.begin())] = 1;
    return Polynomial{{exponents, 1.0}};
  }
  if (const auto c = e.number()) return constant_polynomial(*c, atoms.size());
  if (e.is_opaque()) return std::nullopt;
  const auto arg = [&](int i) { return polynomial(e.arg(i), atoms, depth + 1); };
  switch (e.op()) {
    case MapOp::add: return sum(arg(0), arg(1), 1);
    case MapOp::sub: return sum(arg(0), arg(1), -1);
    case MapOp::mul: return times(arg(0), arg(1));
    case MapOp::neg: return times(arg(0), constant_polynomial(-1, atoms.size()));
    case MapOp::div:
      if (const auto c = e.arg(1).number(); c && *c != 0)
        return times(arg(0), constant_polynomial(1 / *c, atoms.size()));
      return std::nullopt;
    case MapOp::pow: {
      const auto c = e.arg(1).number();
      if (!c || *c < 1 || *c > kMaxDegree || *c != std::round(*c)) return std::nullopt;
      const MaybePolynomial base = arg(0);
      MaybePolynomial r = base;
      for (int i = 1; i < static_cast<int>(*c); ++i) r = times(r, base);
      return r;
    }
    case MapOp::cast: return is_float_cast(e) ? arg(0) : std::nullopt;
    default: return std::nullopt;
  }
}

}  // namespace

Product product_of(const Expr& e, std::span<const Expr> atoms) {
  Product product;
  flatten(e, 1, atoms, 0, product);
  return product;
}

std::optional<Polynomial> polynomial_of(const Expr& e, std::span<const Expr> atoms) {
  MaybePolynomial p = polynomial(e, atoms, 0);
  if (p)
    for (auto it = p->begin(); it != p->end();) it = it->second == 0 ? p->erase(it) : std::next(it);
  return p;
}

bool agree(double a, double b, DType type) {
  const double tolerance = type == DType::f16 ? 2e-3 : (type == DType::bf16 ? 1e-2 : 1e-5);
  return std::abs(a - b) <= tolerance * std::abs(b);
}

bool agree(const Polynomial& a, const Polynomial& b, DType type) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](const auto& x, const auto& y) {
    return x.first == y.first && agree(x.second, y.second, type);
  });
}

}  // namespace lathe::passes
