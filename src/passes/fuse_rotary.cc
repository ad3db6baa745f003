// Rotary position embedding: x * cos + rotate(x) * sin, where rotate(x) is concat(-second half, first half), becomes
// one op. Its tables hold each angle once, so the halves of cos and sin must provably be equal.
#include "passes/expr.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "passes/view.h"

namespace lathe::passes {
namespace {

struct Half {
  Value* source = nullptr;
  Dim start, size;
};

// value = source[.., start : start + size].
std::optional<Half> last_axis_slice(Value* value) {
  const Slice* slice = producer_as<Slice>(value);
  if (slice == nullptr || slice->axes.size() != 1 || slice->steps[0] != 1) return std::nullopt;
  if (slice->axes[0] + 1 != static_cast<int64_t>(value->shape().size())) return std::nullopt;
  return Half{value->producer()->input(0), slice->starts[0], slice->sizes[0]};
}

bool is_last_axis_concat(const Value* value) {
  const Concat* concat = producer_as<Concat>(value);
  return concat != nullptr && value->producer()->inputs().size() == 2 &&
         concat->axis + 1 == static_cast<int64_t>(value->shape().size());
}

// The x of rotate(x).
Value* rotated_source(Value* value) {
  if (!is_last_axis_concat(value)) return nullptr;
  const Expr first(value->producer()->input(0));
  if (first.op() != MapOp::neg || first.arg(0).value() == nullptr) return nullptr;
  const auto second_half = last_axis_slice(first.arg(0).value());
  const auto first_half = last_axis_slice(value->producer()->input(1));
  if (!second_half || !first_half || second_half->source != first_half->source) return nullptr;
  const Dim& width = first_half->source->shape().back();
  const bool halves = first_half->start == Dim(0) && second_half->start == first_half->size &&
                      second_half->size == first_half->size && first_half->size * Dim(2) == width;
  return halves ? first_half->source : nullptr;
}

bool constant_halves_equal(const Tensor& t) {
  const int64_t width = t.rank() == 0 ? 0 : t.dims().back();
  if (width == 0 || width % 2 != 0 || bit_width(t.dtype()) > 64 || t.dtype() == DType::string) return false;
  for (int64_t row = 0; row < t.elements(); row += width)
    for (int64_t i = 0; i < width / 2; ++i)
      if (t.read_double(row + i) != t.read_double(row + width / 2 + i)) return false;
  return true;
}

// value[.., i] == value[.., i + width / 2], whatever the operands hold.
bool halves_equal(Value* value, int depth = 0) {
  if (depth > 16 || !value->type().ranked || value->shape().empty()) return false;
  if (value->shape().back() == Dim(1)) return true;
  const Node* node = value->producer();
  if (node == nullptr) return false;
  if (const Tensor* t = constant_tensor(value)) return constant_halves_equal(*t);
  if (is_last_axis_concat(value)) return node->input(0) == node->input(1);
  const auto same_width = [&](const Value* v) {
    return v->type().ranked && !v->shape().empty() && v->shape().back() == value->shape().back();
  };
  if (const Map* map = node->as<Map>()) {
    for (const MapInstr& in : map->program.code())
      if (in.op == MapOp::iota && in.args[0] == -1) return false;
    return std::all_of(node->inputs().begin(), node->inputs().end(), [&](Value* v) {
      return v->shape().empty() || v->shape().back() == Dim(1) || (same_width(v) && halves_equal(v, depth + 1));
    });
  }
  if (node->is<Reshape>()) return same_width(node->input(0)) && halves_equal(node->input(0), depth + 1);
  if (const auto* t = node->as<Transpose>())
    return t->perm.back() + 1 == static_cast<int64_t>(t->perm.size()) && halves_equal(node->input(0), depth + 1);
  if (const auto* s = node->as<Slice>())
    return s->axes.back() + 1 != static_cast<int64_t>(value->shape().size()) && halves_equal(node->input(0), depth + 1);
  if (const auto* g = node->as<Gather>())
    return g->axis + 1 != static_cast<int64_t>(node->input(0)->shape().size()) &&
           halves_equal(node->input(0), depth + 1);
  return false;
}

// The rotated operand among the opaque leaves of a sum of products.
Value* find_rotated(const Expr& e, int depth = 0) {
  if (e.is_opaque()) return rotated_source(e.value()) != nullptr ? e.value() : nullptr;
  if (depth > 3) return nullptr;
  for (int a = 0; a < arity(e.op()); ++a)
    if (Value* v = find_rotated(e.arg(a), depth + 1)) return v;
  return nullptr;
}

// The table in a product of `x` and a table.
Value* table_of(const Expr& product, const Expr& x) {
  const Product p = product_of(product, std::span(&x, 1));
  if (p.coefficient != 1 || p.factors.size() != 2) return nullptr;
  for (size_t i = 0; i < 2; ++i)
    if (p.factors[i].base == x && p.factors[i].exponent == 1 && p.factors[1 - i].exponent == 1)
      return p.factors[1 - i].base.value();
  return nullptr;
}

bool fuse_rotation(Graph& graph, Node& node) {
  const Expr root = Expr(node.output()).without_casts();
  if (root.op() != MapOp::add || root.dtype() != node.output()->dtype()) return false;
  Value* rotated = find_rotated(root);
  if (rotated == nullptr) return false;
  Value* x = rotated_source(rotated);
  if (!(x->type() == node.output()->type()) || !x->shape().back().is_constant()) return false;
  for (int side = 0; side < 2; ++side) {
    Value* cos = table_of(root.arg(side), Expr(x));
    Value* sin = table_of(root.arg(1 - side), Expr(rotated));
    if (cos == nullptr || sin == nullptr || cos->dtype() != x->dtype() || sin->dtype() != x->dtype()) continue;
    if (!(cos->shape().size() <= x->shape().size()) || !(sin->shape().size() <= x->shape().size())) continue;
    if (!(cos->shape().back() == x->shape().back()) || !(sin->shape().back() == x->shape().back())) continue;
    if (!halves_equal(cos) || !halves_equal(sin)) continue;
    const int64_t width = x->shape().back().value();
    const auto half = [&](Value* table) {
      const auto axis = static_cast<int64_t>(table->shape().size()) - 1;
      return insert(graph, &node, Slice{{axis}, {0}, {width / 2}, {1}}, {table});
    };
    Value* cos_half = half(cos);
    Value* sin_half = half(sin);
    replace(graph, &node, node.output(), Rotary{width, false}, {x, cos_half, sin_half});
    return true;
  }
  return false;
}

// concat(rotary(x[.., :r]), x[.., r:]) rotates the first r features of x.
bool fuse_partial(Graph& graph, Node& node) {
  if (!is_last_axis_concat(node.output())) return false;
  const Rotary* rotary = producer_as<Rotary>(node.input(0));
  if (rotary == nullptr || only_user(node.input(0)) != &node) return false;
  Node& rotation = *node.input(0)->producer();
  const auto head = last_axis_slice(rotation.input(0)), tail = last_axis_slice(node.input(1));
  if (!head || !tail || head->source != tail->source || !(head->start == Dim(0)) ||
      !(head->size == Dim(rotary->rotary_dim)))
    return false;
  if (!(tail->start == head->size) || !(head->source->type() == node.output()->type())) return false;
  replace(graph, &node, node.output(), *rotary, {head->source, rotation.input(1), rotation.input(2)});
  return true;
}

bool fuse(Graph& graph, Node& node) {
  if (!node.output()->type().ranked) return false;
  if (node.is<Map>()) return fuse_rotation(graph, node);
  return node.is<Concat>() && fuse_partial(graph, node);
}

}  // namespace

int fuse_rotary(Graph& graph) {
  return rewrite_nodes(graph, [](Graph& g, Node& node) { return node.outputs().size() == 1 && fuse(g, node); });
}

}  // namespace lathe::passes
