// Canonical polynomials over symbols. Terms are sorted by (degree, key), highest first: an admissible monomial order,
// so that polynomial long division terminates and decides exact divisibility.
#include "graph/dim.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"

namespace lathe {

struct Dim::Atom {
  enum class Kind { symbol, floor_div, min, max, broadcast };
  Kind kind = Kind::symbol;
  std::string key;  // text form: the symbol's name, or the printed call; identifies the atom
  Dim a, b;         // operands of a call

  bool is_nonnegative() const {
    switch (kind) {
      case Kind::symbol: return key[0] != '$';
      case Kind::max: return a.is_nonnegative() || b.is_nonnegative();
      default: return a.is_nonnegative() && b.is_nonnegative();
    }
  }
};

namespace {

using AtomPtr = std::shared_ptr<const Dim::Atom>;

struct Term {
  int64_t coefficient = 0;
  std::vector<AtomPtr> factors;  // sorted by key; a power is a repeated factor

  std::string key() const {
    std::string text;
    for (const AtomPtr& factor : factors) text += (text.empty() ? "" : "*") + factor->key;
    return text;
  }
};

bool same_factors(const Term& a, const Term& b) {
  return std::equal(a.factors.begin(), a.factors.end(), b.factors.begin(), b.factors.end(),
                    [](const AtomPtr& x, const AtomPtr& y) { return x->key == y->key; });
}

// Graded lexicographic order, larger monomials first.
bool before(const Term& a, const Term& b) {
  if (a.factors.size() != b.factors.size()) return a.factors.size() > b.factors.size();
  return std::lexicographical_compare(a.factors.begin(), a.factors.end(), b.factors.begin(), b.factors.end(),
                                      [](const AtomPtr& x, const AtomPtr& y) { return x->key < y->key; });
}

int64_t checked_mul(int64_t a, int64_t b) {
  int64_t r = 0;
  if (__builtin_mul_overflow(a, b, &r)) fail(ErrorCode::invalid_model, "dimension arithmetic overflows 64 bits");
  return r;
}

int64_t checked_add(int64_t a, int64_t b) {
  int64_t r = 0;
  if (__builtin_add_overflow(a, b, &r)) fail(ErrorCode::invalid_model, "dimension arithmetic overflows 64 bits");
  return r;
}

int64_t floor_div_int(int64_t a, int64_t b) {
  if (b == -1) return checked_mul(a, -1);
  const int64_t q = a / b;
  return q - ((a % b != 0) && ((a < 0) != (b < 0)) ? 1 : 0);
}

// Real models stay far below these; they keep hostile ones from growing expressions without end.
constexpr size_t kMaxTerms = 1024, kMaxDegree = 64, kMaxAtomText = 1 << 14;

void check_size(bool fits) {
  if (!fits) fail(ErrorCode::invalid_model, "a dimension expression grows too large");
}

Term multiply(const Term& a, const Term& b) {
  check_size(a.factors.size() + b.factors.size() <= kMaxDegree);
  Term r{checked_mul(a.coefficient, b.coefficient), a.factors};
  r.factors.insert(r.factors.end(), b.factors.begin(), b.factors.end());
  std::sort(r.factors.begin(), r.factors.end(), [](const AtomPtr& x, const AtomPtr& y) { return x->key < y->key; });
  return r;
}

// a / b when b's factors are among a's and the coefficient divides; nullopt otherwise.
std::optional<Term> divide(const Term& a, const Term& b) {
  if (b.coefficient == 0 || b.coefficient == -1 || a.coefficient % b.coefficient != 0) return std::nullopt;
  Term r{a.coefficient / b.coefficient, a.factors};
  for (const AtomPtr& factor : b.factors) {
    const auto it =
        std::find_if(r.factors.begin(), r.factors.end(), [&](const AtomPtr& f) { return f->key == factor->key; });
    if (it == r.factors.end()) return std::nullopt;
    r.factors.erase(it);
  }
  return r;
}

}  // namespace

struct Dim::Poly {
  std::vector<Term> terms;  // canonical: sorted by before(), no zero coefficients, no equal factor lists

  void add(const Term& term) {
    if (term.coefficient == 0) return;
    const auto it = std::lower_bound(terms.begin(), terms.end(), term, before);
    if (it != terms.end() && same_factors(*it, term)) {
      it->coefficient = checked_add(it->coefficient, term.coefficient);
      if (it->coefficient == 0) terms.erase(it);
    } else {
      terms.insert(it, term);
    }
  }

  // this / d when that leaves no remainder.
  std::optional<Poly> divide_exactly(const Poly& d) const {
    constexpr int kMaxSteps = 64;
    Poly rest = *this, quotient;
    for (int step = 0; !rest.terms.empty(); ++step) {
      const auto q = d.terms.empty() || step == kMaxSteps ? std::nullopt : divide(rest.terms.front(), d.terms.front());
      if (!q) return std::nullopt;
      quotient.add(*q);
      for (const Term& t : d.terms) {
        Term product = multiply(*q, t);
        product.coefficient = checked_mul(product.coefficient, -1);
        rest.add(product);
      }
    }
    return quotient;
  }
};

Dim::Dim(std::shared_ptr<const Poly> poly) : poly_(std::move(poly)) {}

Dim Dim::from_poly(Poly poly) {
  check_size(poly.terms.size() <= kMaxTerms);
  if (poly.terms.empty()) return Dim(0);
  if (poly.terms.size() == 1 && poly.terms[0].factors.empty()) return Dim(poly.terms[0].coefficient);
  return Dim(std::make_shared<const Poly>(std::move(poly)));
}

Dim Dim::from_atom(Atom atom) {
  if (atom.kind != Atom::Kind::symbol) {
    static constexpr std::string_view kNames[] = {"", "floor_div", "min", "max", "broadcast"};
    atom.key = std::string(kNames[static_cast<size_t>(atom.kind)]) + "(" + atom.a.to_string() + ", " +
               atom.b.to_string() + ")";
  }
  check_size(atom.key.size() <= kMaxAtomText);
  Poly poly;
  poly.terms.push_back(Term{1, {std::make_shared<const Atom>(std::move(atom))}});
  return from_poly(std::move(poly));
}

Dim::Poly Dim::poly() const {
  if (poly_ != nullptr) return *poly_;
  Poly p;
  if (constant_ != 0) p.terms.push_back(Term{constant_, {}});
  return p;
}

Dim Dim::symbol(std::string name) {
  if (name.empty()) fail(ErrorCode::invalid_argument, "a dimension symbol needs a name");
  Atom atom;
  atom.key = std::move(name);
  return from_atom(std::move(atom));
}

int64_t Dim::value() const {
  LATHE_CHECK(is_constant());
  return constant_;
}

bool Dim::is_symbol() const {
  return poly_ != nullptr && poly_->terms.size() == 1 && poly_->terms[0].coefficient == 1 &&
         poly_->terms[0].factors.size() == 1 && poly_->terms[0].factors[0]->kind == Atom::Kind::symbol;
}

std::string Dim::to_string() const {
  if (is_constant()) return std::to_string(constant_);
  std::string text;
  for (const Term& term : poly_->terms) {
    const bool negative = term.coefficient < 0;
    if (!text.empty()) text += negative ? " - " : " + ";
    if (text.empty() && negative) text += "-";
    const std::string magnitude = std::to_string(term.coefficient).substr(negative ? 1 : 0);
    const std::string key = term.key();
    if (key.empty() || magnitude != "1") text += magnitude;
    if (!key.empty() && magnitude != "1") text += "*";
    text += key;
  }
  return text;
}

bool Dim::is_nonnegative() const {
  if (is_constant()) return constant_ >= 0;
  return std::all_of(poly_->terms.begin(), poly_->terms.end(), [](const Term& t) {
    return t.coefficient >= 0 &&
           std::all_of(t.factors.begin(), t.factors.end(), [](const AtomPtr& f) { return f->is_nonnegative(); });
  });
}

void Dim::collect_symbols(std::vector<std::string>& names) const {
  if (is_constant()) return;
  for (const Term& term : poly_->terms) {
    for (const AtomPtr& factor : term.factors) {
      if (factor->kind != Atom::Kind::symbol) {
        factor->a.collect_symbols(names);
        factor->b.collect_symbols(names);
      } else if (std::find(names.begin(), names.end(), factor->key) == names.end()) {
        names.push_back(factor->key);
      }
    }
  }
}

namespace {

std::optional<int64_t> evaluate_call(Dim::Atom::Kind kind, int64_t a, int64_t b) {
  using Kind = Dim::Atom::Kind;
  switch (kind) {
    case Kind::floor_div:
      if (b == 0 || (b == -1 && a == INT64_MIN)) return std::nullopt;
      return floor_div_int(a, b);
    case Kind::min: return std::min(a, b);
    case Kind::max: return std::max(a, b);
    case Kind::broadcast: return a == 1 ? b : a;
    case Kind::symbol: break;
  }
  return std::nullopt;
}

}  // namespace

std::optional<int64_t> Dim::evaluate(const Lookup& lookup) const {
  if (is_constant()) return constant_;
  int64_t sum = 0;
  for (const Term& term : poly_->terms) {
    int64_t product = term.coefficient;
    for (const AtomPtr& factor : term.factors) {
      std::optional<int64_t> value;
      if (factor->kind == Atom::Kind::symbol) {
        value = lookup(factor->key);
      } else {
        const auto a = factor->a.evaluate(lookup), b = factor->b.evaluate(lookup);
        if (a && b) value = evaluate_call(factor->kind, *a, *b);
      }
      if (!value || __builtin_mul_overflow(product, *value, &product)) return std::nullopt;
    }
    if (__builtin_add_overflow(sum, product, &sum)) return std::nullopt;
  }
  return sum;
}

Dim Dim::substitute(const Replace& replace) const {
  if (is_constant()) return *this;
  Dim sum(0);
  for (const Term& term : poly_->terms) {
    Dim product(term.coefficient);
    for (const AtomPtr& factor : term.factors) {
      if (factor->kind == Atom::Kind::symbol) {
        product = product * replace(factor->key).value_or(Dim::symbol(factor->key));
        continue;
      }
      const Dim a = factor->a.substitute(replace), b = factor->b.substitute(replace);
      switch (factor->kind) {
        case Atom::Kind::floor_div: product = product * floor_div(a, b); break;
        case Atom::Kind::min: product = product * lathe::min(a, b); break;
        case Atom::Kind::max: product = product * lathe::max(a, b); break;
        default: product = product * lathe::broadcast(a, b); break;
      }
    }
    sum = sum + product;
  }
  return sum;
}

bool operator==(const Dim& a, const Dim& b) {
  if (a.is_constant() || b.is_constant()) return a.is_constant() && b.is_constant() && a.constant_ == b.constant_;
  if (a.poly_ == b.poly_) return true;
  return std::equal(a.poly_->terms.begin(), a.poly_->terms.end(), b.poly_->terms.begin(), b.poly_->terms.end(),
                    [](const Term& x, const Term& y) { return x.coefficient == y.coefficient && same_factors(x, y); });
}

Dim operator+(const Dim& a, const Dim& b) {
  if (a.is_constant() && b.is_constant()) return checked_add(a.constant_, b.constant_);
  Dim::Poly sum = a.poly();
  for (const Term& t : b.poly().terms) sum.add(t);
  return Dim::from_poly(std::move(sum));
}

Dim operator-(const Dim& a, const Dim& b) { return a + b * Dim(-1); }

Dim operator*(const Dim& a, const Dim& b) {
  if (a.is_constant() && b.is_constant()) return checked_mul(a.constant_, b.constant_);
  Dim::Poly product;
  const Dim::Poly left = a.poly(), right = b.poly();
  check_size(left.terms.size() * right.terms.size() <= kMaxTerms);
  for (const Term& x : left.terms)
    for (const Term& y : right.terms) product.add(multiply(x, y));
  return Dim::from_poly(std::move(product));
}

Dim floor_div(const Dim& a, const Dim& b) {
  if (b.is_constant() && b.constant_ == 0) fail(ErrorCode::invalid_model, "dimension arithmetic divides by zero");
  if (a.is_constant() && b.is_constant()) return floor_div_int(a.constant_, b.constant_);
  if (b.is_constant() && b.constant_ == -1) return Dim(0) - a;
  const Dim::Poly divisor = b.poly();
  if (auto exact = a.poly().divide_exactly(divisor)) return Dim::from_poly(std::move(*exact));
  // floor((q*b + r) / b) = q + floor(r / b) for the terms that b divides.
  Dim::Poly whole, rest;
  if (divisor.terms.size() == 1) {
    for (const Term& t : a.poly().terms) {
      if (auto q = divide(t, divisor.terms[0]))
        whole.add(*q);
      else
        rest.add(t);
    }
  } else {
    rest = a.poly();
  }
  const Dim remainder = Dim::from_poly(std::move(rest)), quotient = Dim::from_poly(std::move(whole));
  if (remainder.is_constant() && b.is_constant())
    return quotient + Dim(floor_div_int(remainder.constant_, b.constant_));
  Dim::Atom atom;
  atom.kind = Dim::Atom::Kind::floor_div;
  atom.a = remainder;
  atom.b = b;
  return quotient + Dim::from_atom(std::move(atom));
}

namespace {

// Canonical operand order of a commutative call.
std::pair<Dim, Dim> ordered(const Dim& a, const Dim& b) {
  return a.to_string() <= b.to_string() ? std::pair(a, b) : std::pair(b, a);
}

}  // namespace

Dim min(const Dim& a, const Dim& b) {
  if ((b - a).is_nonnegative()) return a;
  if ((a - b).is_nonnegative()) return b;
  Dim::Atom atom;
  atom.kind = Dim::Atom::Kind::min;
  std::tie(atom.a, atom.b) = ordered(a, b);
  return Dim::from_atom(std::move(atom));
}

Dim max(const Dim& a, const Dim& b) {
  if ((a - b).is_nonnegative()) return a;
  if ((b - a).is_nonnegative()) return b;
  Dim::Atom atom;
  atom.kind = Dim::Atom::Kind::max;
  std::tie(atom.a, atom.b) = ordered(a, b);
  return Dim::from_atom(std::move(atom));
}

Dim broadcast(const Dim& a, const Dim& b) {
  if (a == b || b == Dim(1)) return a;
  if (a == Dim(1)) return b;
  if (a.is_constant() && b.is_constant())
    fail(ErrorCode::invalid_model, "sizes {} and {} do not broadcast", a.constant_, b.constant_);
  if (a.is_constant()) return a;  // b must turn out to be a or 1
  if (b.is_constant()) return b;
  // However the calls are nested, the size is that of an operand that is not 1: each is kept once, in order. Without
  // this, the sizes of a deep graph double with every sum.
  std::vector<std::pair<std::string, Dim>> operands;
  const auto collect = [&](const auto& self, const Dim& d) -> void {
    const std::vector<Term>& terms = d.poly_->terms;
    const bool is_atom = terms.size() == 1 && terms[0].coefficient == 1 && terms[0].factors.size() == 1;
    if (!is_atom || terms[0].factors[0]->kind != Dim::Atom::Kind::broadcast)
      return void(operands.emplace_back(d.to_string(), d));
    self(self, terms[0].factors[0]->a);
    self(self, terms[0].factors[0]->b);
  };
  collect(collect, a);
  collect(collect, b);
  std::sort(operands.begin(), operands.end(), [](const auto& x, const auto& y) { return x.first < y.first; });
  const auto same = [](const auto& x, const auto& y) { return x.first == y.first; };
  operands.erase(std::unique(operands.begin(), operands.end(), same), operands.end());
  Dim result = operands.front().second;
  for (size_t i = 1; i < operands.size(); ++i) {
    Dim::Atom atom;
    atom.kind = Dim::Atom::Kind::broadcast;
    atom.a = result;
    atom.b = operands[i].second;
    result = Dim::from_atom(std::move(atom));
  }
  return result;
}

namespace {

// Recursive descent over: sum := product (('+'|'-') product)*, product := unary ('*' unary)*,
// unary := '-' unary | number | name | name '(' sum ',' sum ')' | '(' sum ')'.
class DimParser {
 public:
  explicit DimParser(std::string_view text) : text_(text) {}

  Dim parse() {
    Dim d = sum(0);
    skip_space();
    if (pos_ != text_.size()) error();
    return d;
  }

 private:
  static constexpr int kMaxDepth = 64;

  [[noreturn]] void error() const { fail(ErrorCode::invalid_argument, "'{}' is not a dimension expression", text_); }
  void skip_space() {
    while (pos_ < text_.size() && text_[pos_] == ' ') ++pos_;
  }
  bool accept(char c) {
    skip_space();
    if (pos_ >= text_.size() || text_[pos_] != c) return false;
    ++pos_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) error();
  }

  Dim sum(int depth) {
    if (depth > kMaxDepth) error();
    Dim d = product(depth);
    for (;;) {
      if (accept('+'))
        d = d + product(depth);
      else if (accept('-'))
        d = d - product(depth);
      else
        return d;
    }
  }
  Dim product(int depth) {
    Dim d = unary(depth);
    while (accept('*')) d = d * unary(depth);
    return d;
  }
  Dim unary(int depth) {
    if (depth > kMaxDepth) error();
    if (accept('-')) return Dim(0) - unary(depth + 1);
    if (accept('(')) {
      Dim d = sum(depth + 1);
      expect(')');
      return d;
    }
    const size_t begin = pos_;
    const auto is_name = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) ||
             std::string_view("_.$/:@#").find(c) != std::string_view::npos || (c & 0x80);
    };
    while (pos_ < text_.size() && is_name(text_[pos_])) ++pos_;
    const std::string_view word = text_.substr(begin, pos_ - begin);
    if (word.empty()) error();
    if (std::isdigit(static_cast<unsigned char>(word[0]))) return number(word);
    return accept('(') ? call(word, depth) : Dim::symbol(std::string(word));
  }
  Dim number(std::string_view word) const {
    int64_t value = 0;
    for (const char c : word) {
      if (!std::isdigit(static_cast<unsigned char>(c)) || __builtin_mul_overflow(value, 10, &value) ||
          __builtin_add_overflow(value, c - '0', &value))
        error();
    }
    return value;
  }
  Dim call(std::string_view name, int depth) {
    const Dim a = sum(depth + 1);
    expect(',');
    const Dim b = sum(depth + 1);
    expect(')');
    if (name == "floor_div") return floor_div(a, b);
    if (name == "min") return min(a, b);
    if (name == "max") return max(a, b);
    if (name == "broadcast") return broadcast(a, b);
    error();
  }

  std::string_view text_;
  size_t pos_ = 0;
};

}  // namespace

Dim Dim::parse(std::string_view text) { return DimParser(text).parse(); }

Dim product(const Shape& shape) {
  Dim total(1);
  for (const Dim& d : shape) total = total * d;
  return total;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (const Dim& d : shape) text += (text.size() > 1 ? ", " : "") + d.to_string();
  return text + "]";
}

bool is_static(const Shape& shape) {
  return std::all_of(shape.begin(), shape.end(), [](const Dim& d) { return d.is_constant(); });
}

Shape broadcast(const Shape& a, const Shape& b) {
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  Shape result = longer;
  const size_t offset = longer.size() - shorter.size();
  for (size_t i = 0; i < shorter.size(); ++i) result[offset + i] = broadcast(longer[offset + i], shorter[i]);
  return result;
}

}  // namespace lathe
