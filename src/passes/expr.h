// A view of elementwise computation that does not care how it is cut into nodes: an Expr is one instruction of a map,
// or a value that no map computes. Patterns are stated as algebra on it (products, polynomials), so the order of
// operands, the association of sums and the choice between dividing and multiplying by a reciprocal do not matter.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "graph/graph.h"

namespace lathe::passes {

class Expr {
 public:
  Expr() = default;
  explicit Expr(Value* value);  // looks through plain copies and broadcasts
  Expr(const Node* map, int instruction);

  bool is_opaque() const { return map_ == nullptr; }
  MapOp op() const;  // MapOp::input for an opaque value
  Expr arg(int which) const;
  DType dtype() const;
  std::optional<double> number() const;  // the number that it always is
  // The value that holds it: itself if opaque, the map's output if it is that map's result, else null.
  Value* value() const;
  // Without casts between float types around it.
  Expr without_casts() const;
  const Node* map() const { return map_; }
  int instruction() const { return instruction_; }
  friend bool operator==(const Expr& a, const Expr& b) = default;

 private:
  const MapInstr& instr() const;
  const Node* map_ = nullptr;
  Value* opaque_ = nullptr;
  int instruction_ = -1;
};

struct Factor {
  Expr base;
  double exponent = 1;
};
// coefficient * product of base^exponent. Negation, division, reciprocal, sqrt and constant powers are taken apart.
struct Product {
  double coefficient = 1;
  std::vector<Factor> factors;  // equal bases are joined
};
// `atoms` are not taken apart.
Product product_of(const Expr& e, std::span<const Expr> atoms = {});

// A polynomial in given atoms: exponents (one per atom) -> coefficient.
using Polynomial = std::map<std::vector<int>, double>;
// nullopt when `e` depends on anything else, or the degree grows above 8.
std::optional<Polynomial> polynomial_of(const Expr& e, std::span<const Expr> atoms);
// Coefficients agree up to the rounding of constants in `type`.
bool agree(const Polynomial& a, const Polynomial& b, DType type);
bool agree(double a, double b, DType type);

}  // namespace lathe::passes
