// Tensors of positions (ranges, index grids) are programs; this pass keeps them so through unsqueezes, and drops
// look-ups and updates by an index grid that names every element in order. Exporters spell "mask[batch, key]" that way.
#include "graph/rewrite_program.h"
#include "passes/map_writer.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "passes/view.h"

namespace lathe::passes {
namespace {

bool is_one(const Dim& d) { return d == Dim(1); }

// For a reshape that only adds and drops axes of size 1: for each axis of `from`, the axis of `to`, or -1 if its size
// is 1.
std::optional<std::vector<int64_t>> matched_axes(const Shape& from, const Shape& to) {
  std::vector<int64_t> axes(from.size(), -1);
  size_t j = 0;
  for (size_t i = 0; i < from.size(); ++i) {
    if (is_one(from[i])) continue;
    while (j < to.size() && is_one(to[j])) ++j;
    if (j == to.size() || !(from[i] == to[j])) return std::nullopt;
    axes[i] = static_cast<int64_t>(j++);
  }
  while (j < to.size() && is_one(to[j])) ++j;
  return j == to.size() ? std::optional(axes) : std::nullopt;
}

MapProgram with_moved_axes(const MapProgram& program, const std::vector<int64_t>& axes, size_t rank) {
  return simplify_program(rewrite_program(program, [&](const ProgramRewrite& at) -> std::optional<int> {
    if (at.instr.op != MapOp::iota) return std::nullopt;
    const int64_t axis = axes[axes.size() - static_cast<size_t>(-at.instr.args[0])];
    return axis < 0 ? at.out.constant_int(0, DType::i64)
                    : at.out.iota(static_cast<int>(axis - static_cast<int64_t>(rank)));
  }));
}

// The operand of a map whose axes are moved so.
Value* moved_operand(Graph& graph, Node* position, Value* operand, const std::vector<int64_t>& axes, size_t rank) {
  if (operand->shape().empty()) return operand;
  Shape shape(rank, Dim(1));
  const size_t missing = axes.size() - operand->shape().size();
  for (size_t i = missing; i < axes.size(); ++i)
    if (axes[i] >= 0) shape[static_cast<size_t>(axes[i])] = operand->shape()[i - missing];
  return reshaped(graph, position, operand, shape);
}

// Reshape of a map that makes a tensor from positions or by broadcasting: the map makes the other shape.
bool reshape_before_map(Graph& graph, Node& node, const Reshape& op) {
  Value* x = node.input(0);
  const Map* map = producer_as<Map>(x);
  if (map == nullptr || !(map->program.uses_iota() || map->shape)) return false;
  const auto axes = matched_axes(x->shape(), op.shape);
  if (!axes) return false;
  for (const Value* v : x->producer()->inputs())
    if (!v->type().ranked) return false;
  std::vector<Value*> operands;
  for (Value* v : x->producer()->inputs()) operands.push_back(moved_operand(graph, &node, v, *axes, op.shape.size()));
  replace(graph, &node, node.output(), Map{with_moved_axes(map->program, *axes, op.shape.size()), op.shape},
          std::move(operands));
  return true;
}

// An integer program as a sum of position * step plus a start.
struct LinearIndex {
  std::vector<Dim> steps;  // per axis, from the first
  Dim start;
};

std::optional<LinearIndex> linear_index(const Value* value, int depth = 0);

std::optional<LinearIndex> scaled(const std::optional<LinearIndex>& a, const std::optional<LinearIndex>& b) {
  if (!a || !b) return std::nullopt;
  const auto constant = [](const LinearIndex& x) {
    return std::all_of(x.steps.begin(), x.steps.end(), [](const Dim& d) { return d == Dim(0); });
  };
  if (!constant(*a) && !constant(*b)) return std::nullopt;
  const LinearIndex& moving = constant(*b) ? *a : *b;
  const Dim factor = constant(*b) ? b->start : a->start;
  LinearIndex r = moving;
  for (Dim& d : r.steps) d = d * factor;
  r.start = r.start * factor;
  return r;
}

std::optional<LinearIndex> added(std::optional<LinearIndex> a, const std::optional<LinearIndex>& b, int64_t sign) {
  if (!a || !b) return std::nullopt;
  for (size_t i = 0; i < a->steps.size(); ++i) a->steps[i] = a->steps[i] + Dim(sign) * b->steps[i];
  a->start = a->start + Dim(sign) * b->start;
  return a;
}

// One instruction of a map whose result has `rank` axes.
std::optional<LinearIndex> linear_instruction(const Node& node, size_t rank, int index, int depth) {
  const MapProgram& program = node.as<Map>()->program;
  const MapInstr& in = program.code()[static_cast<size_t>(index)];
  LinearIndex r{std::vector<Dim>(rank, Dim(0)), 0};
  const auto arg = [&](int i) { return linear_instruction(node, rank, in.args[static_cast<size_t>(i)], depth); };
  switch (in.op) {
    case MapOp::iota: r.steps[rank - static_cast<size_t>(-in.args[0])] = 1; return r;
    case MapOp::constant: r.start = in.integer; return is_integer(in.type) ? std::optional(r) : std::nullopt;
    case MapOp::dim: r.start = program.dims()[static_cast<size_t>(in.args[0])]; return r;
    case MapOp::cast: return is_integer(in.type) && bit_width(in.type) >= 32 ? arg(0) : std::nullopt;
    case MapOp::add: return added(arg(0), arg(1), 1);
    case MapOp::sub: return added(arg(0), arg(1), -1);
    case MapOp::mul: return scaled(arg(0), arg(1));
    case MapOp::input: {
      auto inner = linear_index(node.input(static_cast<size_t>(in.args[0])), depth + 1);
      if (inner) inner->steps.insert(inner->steps.begin(), rank - inner->steps.size(), Dim(0));
      return inner;
    }
    default: return std::nullopt;
  }
}

std::optional<LinearIndex> linear_index(const Value* value, int depth) {
  const Map* map = producer_as<Map>(value);
  if (map == nullptr || depth > 8 || !value->type().ranked || map->program.code().size() > 32) return std::nullopt;
  auto r = linear_instruction(*value->producer(), value->shape().size(),
                              static_cast<int>(map->program.code().size()) - 1, depth);
  for (size_t i = 0; r && i < r->steps.size(); ++i)
    if (is_one(value->shape()[i])) r->steps[i] = 0;
  return r;
}

// The index tensor counts 0, 1, 2, .. in row-major order.
bool counts_up(const Value* indices) {
  const auto index = linear_index(indices);
  if (!index || !(index->start == Dim(0))) return false;
  Dim step = 1;
  for (size_t i = index->steps.size(); i-- > 0;) {
    if (!is_one(indices->shape()[i]) && !(index->steps[i] == step)) return false;
    step = step * indices->shape()[i];
  }
  return true;
}

bool simplify(Graph& graph, Node& node, const Gather& op) {
  const Value* indices = node.input(1);
  const Value* x = node.input(0);
  if (!indices->type().ranked || !x->type().ranked || !counts_up(indices)) return false;
  if (!(product(indices->shape()) == x->shape()[static_cast<size_t>(op.axis)])) return false;
  graph.replace_uses(node.output(), reshaped(graph, &node, node.input(0), node.output()->shape()));
  return true;
}

// Component c of a grid of positions: the index along axis c of the grid.
bool names_axis(const Value* component, size_t axis, const Shape& grid) {
  const auto index = linear_index(component);
  if (!index || !(index->start == Dim(0)) || component->shape().size() != grid.size() + 1) return false;
  for (size_t i = 0; i < grid.size(); ++i) {
    if (!(component->shape()[i] == grid[i])) return false;
    if (!is_one(grid[i]) && !(index->steps[i] == Dim(i == axis ? 1 : 0))) return false;
  }
  return true;
}

// Indices [grid.., rank] that name each element of a tensor of shape `grid` at its own place.
bool is_full_grid(const Value* indices, const Shape& grid) {
  const Concat* concat = producer_as<Concat>(indices);
  if (concat == nullptr || concat->axis != static_cast<int64_t>(grid.size())) return false;
  const auto parts = indices->producer()->inputs();
  if (parts.size() != grid.size()) return false;
  for (size_t i = 0; i < parts.size(); ++i)
    if (!names_axis(parts[i], i, grid)) return false;
  return true;
}

bool simplify(Graph& graph, Node& node, const GatherNd& op) {
  Value* x = node.input(0);
  if (op.batch_dims != 0 || !x->type().ranked || !(node.output()->shape() == x->shape()) ||
      !is_full_grid(node.input(1), x->shape()))
    return false;
  graph.replace_uses(node.output(), x);
  return true;
}

bool simplify(Graph& graph, Node& node, const ScatterNd& op) {
  Value* x = node.input(0);
  if (op.reduction != ScatterReduction::none || !x->type().ranked || !(node.input(2)->type() == x->type()))
    return false;
  if (!is_full_grid(node.input(1), x->shape())) return false;
  graph.replace_uses(node.output(), node.input(2));
  return true;
}

bool simplify(Graph& graph, Node& node, const Reshape& op) { return reshape_before_map(graph, node, op); }

template <class T>
bool simplify(Graph&, Node&, const T&) {
  return false;
}

bool visit_node(Graph& graph, Node& node) {
  if (node.outputs().size() != 1 || !node.output()->type().is_tensor() || !node.output()->type().ranked) return false;
  return std::visit([&](const auto& op) { return simplify(graph, node, op); }, node.op());
}

}  // namespace

int simplify_positions(Graph& graph) { return rewrite_nodes(graph, visit_node); }

}  // namespace lathe::passes
