// A dimension of a tensor: an integer, or an integer expression over named symbols, kept in a canonical form so that
// equal expressions compare equal. The form is a polynomial with integer coefficients over atoms; an atom is a symbol
// or one of floor_div, min, max, broadcast of two dimensions. Division that leaves no remainder is carried out, so
// (batch*seq*768) / (batch*12) is seq*64; a mod b is written a - b*floor_div(a, b).
//
// Symbols name sizes and are never negative, except those that begin with '$': they name values read from tensors at
// run time and may have any sign. Text form: "seq", "batch*seq", "2*seq + 1", "floor_div(h + 1, 2)", "max(a, b)".
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lathe {

class Dim {
 public:
  Dim() = default;
  Dim(int64_t value) : constant_(value) {}  // NOLINT(google-explicit-constructor): an integer is a dimension
  static Dim symbol(std::string name);

  // Parses the text form; throws Error(invalid_argument) on malformed text.
  static Dim parse(std::string_view text);

  bool is_constant() const { return poly_ == nullptr; }
  int64_t value() const;   // requires is_constant()
  bool is_symbol() const;  // exactly one symbol, nothing else
  std::string to_string() const;

  // True only if the expression cannot be negative whatever the symbols are.
  bool is_nonnegative() const;

  // Adds the names of all symbols in the expression, without repeats.
  void collect_symbols(std::vector<std::string>& names) const;

  // Value for given symbols; `lookup` returns nullopt for an unbound name, and so does evaluate() then, or when the
  // arithmetic overflows or divides by zero. Allocates nothing.
  using Lookup = std::function<std::optional<int64_t>(std::string_view)>;
  std::optional<int64_t> evaluate(const Lookup& lookup) const;

  // Replaces symbols by expressions; a name for which `replace` returns nullopt stays.
  using Replace = std::function<std::optional<Dim>(std::string_view)>;
  Dim substitute(const Replace& replace) const;

  friend bool operator==(const Dim& a, const Dim& b);
  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);
  friend Dim floor_div(const Dim& a, const Dim& b);
  friend Dim min(const Dim& a, const Dim& b);
  friend Dim max(const Dim& a, const Dim& b);
  friend Dim broadcast(const Dim& a, const Dim& b);

  struct Poly;  // defined in dim.cc
  struct Atom;

 private:
  explicit Dim(std::shared_ptr<const Poly> poly);
  static Dim from_poly(Poly poly);
  static Dim from_atom(Atom atom);
  Poly poly() const;

  int64_t constant_ = 0;
  std::shared_ptr<const Poly> poly_;  // null for a constant
};

Dim floor_div(const Dim& a, const Dim& b);  // rounds to minus infinity; b must not be the constant 0
Dim min(const Dim& a, const Dim& b);
Dim max(const Dim& a, const Dim& b);
// The size that two sizes broadcast to: equal, or one of them 1.
Dim broadcast(const Dim& a, const Dim& b);
inline Dim ceil_div(const Dim& a, const Dim& b) { return Dim(0) - floor_div(Dim(0) - a, b); }
inline Dim mod(const Dim& a, const Dim& b) { return a - b * floor_div(a, b); }
inline Dim operator-(const Dim& a) { return Dim(0) - a; }

using Shape = std::vector<Dim>;

Dim product(const Shape& shape);
std::string to_string(const Shape& shape);  // "[batch, 128]"
bool is_static(const Shape& shape);
// ONNX (numpy) broadcasting of shapes, aligned at the last axis. Throws Error(invalid_model) when two constants clash.
Shape broadcast(const Shape& a, const Shape& b);

}  // namespace lathe
