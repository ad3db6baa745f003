// Finds activation functions spelt out in a map program and replaces them by their instruction. Stated as polynomials
// in x and the inner function, so the order and association of operands do not matter: gelu is x/2 + x/2 * erf(x /
// sqrt(2)).
#include <cmath>
#include <numbers>

#include "graph/rewrite_program.h"
#include "passes/expr.h"
#include "passes/map_writer.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

constexpr size_t kMaxInstructions = 256;  // of programs that are searched; the search is cubic

struct Found {
  int instruction = -1;  // whose result is function(argument)
  int argument = -1;
  MapOp function = MapOp::relu;
};

// One map's program, seen as expressions whose leaves are its operands.
class Search {
 public:
  explicit Search(const Node& node) : node_(node), code_(node.as<Map>()->program.code()) {}

  // The last match, so that an activation is found before what it is made of.
  std::optional<Found> run() const {
    for (int root = size() - 1; root >= 0; --root) {
      if (!is_float(code_[static_cast<size_t>(root)].type)) continue;
      if (const auto found = match(root)) return found;
    }
    return std::nullopt;
  }

 private:
  int size() const { return static_cast<int>(code_.size()); }
  Expr at(int i) const { return Expr(&node_, i); }
  MapOp op(int i) const { return code_[static_cast<size_t>(i)].op; }
  DType type(int i) const { return code_[static_cast<size_t>(i)].type; }
  // `e` as a polynomial in the instructions `atoms`, compared with `expected`.
  bool is(int e, std::initializer_list<int> atoms, const Polynomial& expected) const {
    std::vector<Expr> exprs;
    for (const int i : atoms) exprs.push_back(at(i));
    const auto p = polynomial_of(at(e), exprs);
    return p && agree(*p, expected, type(e));
  }
  bool is_number(int i, double value) const {
    const auto c = at(i).number();
    return c && agree(*c, value, type(i)) && (value != 0 || *c == 0);
  }
  int arg(int i, int which) const { return code_[static_cast<size_t>(i)].args[static_cast<size_t>(which)]; }

  std::optional<Found> match(int root) const {
    if (const auto found = match_sigmoid(root)) return found;
    if (op(root) == MapOp::log) return match_softplus(root);
    if (op(root) == MapOp::max) return match_relu(root);
    if (op(root) != MapOp::mul && op(root) != MapOp::div && op(root) != MapOp::add) return std::nullopt;
    for (int inner = 0; inner < root; ++inner)
      for (int x = 0; x < inner && is_gate(inner); ++x)
        if (const auto function = match_gate(root, inner, x)) return Found{root, x, *function};
    return std::nullopt;
  }

  bool is_gate(int i) const {
    const MapOp f = op(i);
    return f == MapOp::erf || f == MapOp::tanh || f == MapOp::sigmoid ||
           ((f == MapOp::min || f == MapOp::max) && clipped(i));
  }

  // x times (a function of x), in any arrangement.
  std::optional<MapOp> match_gate(int root, int inner, int x) const {
    const Polynomial half_plus_half = {{{1, 0}, 0.5}, {{1, 1}, 0.5}}, product = {{{1, 1}, 1}};
    switch (op(inner)) {
      case MapOp::erf:
        if (is(arg(inner, 0), {x}, {{{1}, std::numbers::sqrt2 / 2}}) && is(root, {x, inner}, half_plus_half))
          return MapOp::gelu_erf;
        return std::nullopt;
      case MapOp::tanh: {
        const double c = std::sqrt(2 / std::numbers::pi);
        if (is(arg(inner, 0), {x}, {{{1}, c}, {{3}, c * 0.044715}}) && is(root, {x, inner}, half_plus_half))
          return MapOp::gelu_tanh;
        const int softplus = arg(inner, 0);
        if (op(softplus) == MapOp::softplus && arg(softplus, 0) == x && is(root, {x, inner}, product))
          return MapOp::mish;
        return std::nullopt;
      }
      case MapOp::sigmoid:
        if (arg(inner, 0) == x && is(root, {x, inner}, product)) return MapOp::silu;
        return std::nullopt;
      case MapOp::min:
      case MapOp::max: return match_hard_swish(root, inner, x);
      default: return std::nullopt;
    }
  }

  // x * clip(x / 6 + 1/2, 0, 1), or x * clip(x + 3, 0, 6) / 6; the clip in either order.
  std::optional<MapOp> match_hard_swish(int root, int inner, int x) const {
    const auto clip = clipped(inner);
    if (!clip) return std::nullopt;
    const bool unit = agree(clip->high, 1, type(inner)), six = agree(clip->high, 6, type(inner));
    if (clip->low != 0 || (!unit && !six)) return std::nullopt;
    const double scale = unit ? 1.0 / 6 : 1;
    if (is(clip->argument, {x}, {{{0}, 3 * scale}, {{1}, scale}}) &&
        is(root, {x, inner}, {{{1, 1}, unit ? 1 : 1.0 / 6}}))
      return MapOp::hard_swish;
    return std::nullopt;
  }

  struct Clip {
    int argument;
    double low, high;
  };
  std::optional<Clip> clipped(int i) const {
    const auto split = [&](int e, MapOp wanted) -> std::optional<std::pair<int, double>> {
      if (op(e) == MapOp::relu && wanted == MapOp::max) return std::pair(arg(e, 0), 0.0);
      if (op(e) != wanted) return std::nullopt;
      for (int side = 0; side < 2; ++side)
        if (const auto c = at(arg(e, side)).number()) return std::pair(arg(e, 1 - side), *c);
      return std::nullopt;
    };
    for (const MapOp outer : {MapOp::min, MapOp::max}) {
      const auto first = split(i, outer);
      const auto second = first ? split(first->first, outer == MapOp::min ? MapOp::max : MapOp::min) : std::nullopt;
      if (!second) continue;
      const bool outer_is_high = outer == MapOp::min;
      return Clip{second->first, outer_is_high ? second->second : first->second,
                  outer_is_high ? first->second : second->second};
    }
    return std::nullopt;
  }

  // 1 / (1 + exp(-x)).
  std::optional<Found> match_sigmoid(int root) const {
    int denominator = -1;
    if (op(root) == MapOp::reciprocal) denominator = arg(root, 0);
    if (op(root) == MapOp::div && is_number(arg(root, 0), 1)) denominator = arg(root, 1);
    if (denominator < 0) return std::nullopt;
    for (int e = 0; e < denominator; ++e) {
      if (op(e) != MapOp::exp || !is(denominator, {e}, {{{0}, 1}, {{1}, 1}})) continue;
      for (int x = 0; x < e; ++x)
        if (is(arg(e, 0), {x}, {{{1}, -1}})) return Found{root, x, MapOp::sigmoid};
    }
    return std::nullopt;
  }

  std::optional<Found> match_softplus(int root) const {
    for (int e = 0; e < root; ++e)
      if (op(e) == MapOp::exp && is(arg(root, 0), {e}, {{{0}, 1}, {{1}, 1}}))
        return Found{root, arg(e, 0), MapOp::softplus};
    return std::nullopt;
  }

  std::optional<Found> match_relu(int root) const {
    for (int side = 0; side < 2; ++side)
      if (is_number(arg(root, side), 0)) return Found{root, arg(root, 1 - side), MapOp::relu};
    return std::nullopt;
  }

  const Node& node_;
  const std::vector<MapInstr>& code_;
};

// `program` with one instruction replaced.
MapProgram substitute(const MapProgram& program, const Found& found) {
  return rewrite_program(program, [&](const ProgramRewrite& at) -> std::optional<int> {
    if (at.number != found.instruction) return std::nullopt;
    return at.out.push({found.function, at.instr.type, {at.index[static_cast<size_t>(found.argument)], 0, 0}});
  });
}

bool recognise(Graph& graph, Node& node) {
  const Map* map = node.as<Map>();
  if (map == nullptr || map->program.code().size() < 2 || map->program.code().size() > kMaxInstructions) return false;
  bool changed = false;
  Node* current = &node;
  while (const auto found = Search(*current).run()) {
    const auto& code = current->as<Map>()->program.code();
    if (code[static_cast<size_t>(found->argument)].type != code[static_cast<size_t>(found->instruction)].type) break;
    Map better{substitute(current->as<Map>()->program, *found), current->as<Map>()->shape};
    std::vector<Value*> inputs(node.inputs().begin(), node.inputs().end());
    Node* next = graph.insert_before(&node, std::move(better), std::move(inputs), 1, node.name());
    graph.replace_uses(current->output(), next->output());
    if (current != &node) graph.erase(current);
    current = next;
    changed = true;
  }
  return changed;
}

}  // namespace

int recognise_activations(Graph& graph) { return rewrite_nodes(graph, recognise); }

}  // namespace lathe::passes
