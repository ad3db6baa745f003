#include "passes/view.h"

#include <algorithm>
#include <numeric>

#include "passes/expr.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

bool is_one(const Dim& d) { return d == Dim(1); }

std::optional<View> apply(const Reshape& op, View view) {
  auto axes = regrouped(joined(view.axes), op.shape);
  if (!axes) return std::nullopt;
  view.axes = std::move(*axes);
  return view;
}

std::optional<View> apply(const Transpose& op, View view) {
  std::vector<Pieces> axes;
  for (const int64_t from : op.perm) axes.push_back(view.axes[static_cast<size_t>(from)]);
  view.axes = std::move(axes);
  return view;
}

std::optional<View> apply(const Slice& op, View view) {
  for (size_t i = 0; i < op.axes.size(); ++i) {
    Pieces& pieces = view.axes[static_cast<size_t>(op.axes[i])];
    const auto whole = single(pieces);
    if (!whole) return std::nullopt;
    view.offset = view.offset + op.starts[i] * whole->stride;
    pieces.clear();
    if (!is_one(op.sizes[i])) pieces.push_back({op.sizes[i], whole->stride * Dim(op.steps[i])});
  }
  return view;
}

// A look-up of one row drops its axis.
std::optional<View> apply(const Gather& op, View view, const Value* indices) {
  const auto index = constant_integers(indices);
  if (!index || index->size() != 1 || !indices->shape().empty() || index->front() < 0) return std::nullopt;
  const auto axis = static_cast<size_t>(op.axis);
  const auto whole = single(view.axes[axis]);
  if (!whole) return std::nullopt;
  view.offset = view.offset + Dim(index->front()) * whole->stride;
  view.axes.erase(view.axes.begin() + op.axis);
  return view;
}

// An expansion gives new or stretched axes the stride 0.
std::optional<View> apply_broadcast(View view, const Shape& from, const Shape& to) {
  std::vector<Pieces> axes;
  const size_t extra = to.size() - from.size();
  for (size_t i = 0; i < to.size(); ++i) {
    const bool kept = i >= extra && from[i - extra] == to[i];
    if (kept) {
      axes.push_back(view.axes[i - extra]);
    } else if (i < extra || is_one(from[i - extra])) {
      axes.push_back(is_one(to[i]) ? Pieces{} : Pieces{{to[i], Dim(0)}});
    } else {
      return std::nullopt;
    }
  }
  view.axes = std::move(axes);
  return view;
}

// The value and number whose product a map is.
std::optional<std::pair<Value*, double>> scaled_operand(Node& map) {
  const Product product = product_of(Expr(map.output()));
  if (product.factors.size() != 1 || product.factors[0].exponent != 1) return std::nullopt;
  Value* operand = nullptr;
  for (Value* v : map.inputs())
    if (Expr(v) == product.factors[0].base) operand = v;
  if (operand == nullptr || operand->dtype() != map.output()->dtype()) return std::nullopt;
  return std::pair(operand, product.coefficient);
}

std::optional<View> look_through(Node& node, const ViewOptions& options);

std::optional<View> apply_map(Node& node, const Map& map, const ViewOptions& options) {
  Value* operand = node.input(0);
  double scale = 1;
  if (!map.program.is_identity() || !options.through_slices) {
    if (!options.through_scale || map.program.is_identity()) return std::nullopt;
    const auto scaled = scaled_operand(node);
    if (!scaled) return std::nullopt;
    std::tie(operand, scale) = *scaled;
  }
  if (!operand->type().ranked || operand->shape().size() > node.output()->shape().size()) return std::nullopt;
  View view = view_of(operand, options);
  view.scale *= scale;
  return apply_broadcast(std::move(view), operand->shape(), node.output()->shape());
}

std::optional<View> look_through(Node& node, const ViewOptions& options) {
  if (const auto* op = node.as<Reshape>()) return apply(*op, view_of(node.input(0), options));
  if (const auto* op = node.as<Transpose>()) return apply(*op, view_of(node.input(0), options));
  if (const auto* op = node.as<Map>(); op != nullptr && !node.inputs().empty()) return apply_map(node, *op, options);
  if (!options.through_slices) return std::nullopt;
  if (const auto* op = node.as<Slice>()) return apply(*op, view_of(node.input(0), options));
  if (const auto* op = node.as<Gather>()) return apply(*op, view_of(node.input(0), options), node.input(1));
  return std::nullopt;
}

}  // namespace

View trivial_view(Value* value) {
  View view;
  view.base = value;
  Dim stride = 1;
  view.axes.resize(value->shape().size());
  for (size_t i = value->shape().size(); i-- > 0;) {
    const Dim& size = value->shape()[i];
    if (!is_one(size)) view.axes[i] = {{size, stride}};
    stride = stride * size;
  }
  return view;
}

View view_of(Value* value, const ViewOptions& options) {
  if (!value->type().is_tensor() || !value->type().ranked) {
    View opaque;
    opaque.base = value;
    return opaque;
  }
  Node* node = value->producer();
  if (node != nullptr &&
      (node->inputs().empty() || (node->input(0)->type().is_tensor() && node->input(0)->type().ranked)))
    if (auto view = look_through(*node, options)) return std::move(*view);
  return trivial_view(value);
}

Pieces joined(const std::vector<Pieces>& axes) {
  Pieces result;
  for (const Pieces& axis : axes)
    for (const Piece& piece : axis) {
      if (!result.empty() && result.back().stride == piece.stride * piece.size) {
        result.back() = {result.back().size * piece.size, piece.stride};
      } else {
        result.push_back(piece);
      }
    }
  return result;
}

bool is_contiguous(const View& view) {
  if (!(view.offset == Dim(0))) return false;
  const Pieces pieces = joined(view.axes);
  const Dim total = product(view.base->shape());
  if (pieces.empty()) return is_one(total);
  return pieces.size() == 1 && is_one(pieces[0].stride) && pieces[0].size == total;
}

std::optional<std::vector<Pieces>> regrouped(const Pieces& pieces, const Shape& shape) {
  Pieces rest = pieces;
  std::vector<Pieces> axes(shape.size());
  for (size_t i = shape.size(); i-- > 0;) {
    Dim remaining = shape[i];
    while (!is_one(remaining)) {
      if (rest.empty()) return std::nullopt;
      Piece& last = rest.back();
      if (const auto quotient = divide_exactly(remaining, last.size)) {
        remaining = *quotient;
        axes[i].insert(axes[i].begin(), last);
        rest.pop_back();
      } else if (const auto outer = divide_exactly(last.size, remaining)) {
        axes[i].insert(axes[i].begin(), {remaining, last.stride});
        last = {*outer, last.stride * remaining};
        remaining = 1;
      } else {
        return std::nullopt;
      }
    }
  }
  if (!rest.empty()) return std::nullopt;
  return axes;
}

std::optional<Piece> single(const Pieces& pieces) {
  const Pieces one = joined({pieces});
  if (one.empty()) return Piece{1, 0};
  if (one.size() > 1) return std::nullopt;
  return one[0];
}

Value* reshaped(Graph& graph, Node* position, Value* value, const Shape& shape) {
  return value->shape() == shape ? value : insert(graph, position, Reshape{shape}, {value});
}

Value* transposed(Graph& graph, Node* position, Value* value, std::vector<int64_t> perm) {
  std::vector<int64_t> identity(perm.size());
  std::iota(identity.begin(), identity.end(), 0);
  return perm == identity ? value : insert(graph, position, Transpose{std::move(perm)}, {value});
}

}  // namespace lathe::passes
