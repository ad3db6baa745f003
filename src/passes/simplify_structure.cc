// Nodes that do nothing, or do what a simpler node does: a slice of everything or of a slice, a concat of one, a slice
// of a concat that lies in one part, a pad by nothing, a reduction over axes of size 1, an If whose condition is known.
#include <unordered_map>

#include "graph/rewrite_program.h"
#include "passes/map_writer.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "passes/view.h"

namespace lathe::passes {
namespace {

// The operand of a sliced map, sliced where it is not broadcast.
Value* sliced_operand(Graph& graph, Node& node, const Slice& op, Value* operand) {
  const size_t missing = node.output()->shape().size() - operand->shape().size();
  Slice part;
  for (size_t i = 0; i < op.axes.size(); ++i) {
    const auto axis = op.axes[i] - static_cast<int64_t>(missing);
    if (axis < 0 || operand->shape()[static_cast<size_t>(axis)] == Dim(1)) continue;
    part.axes.push_back(axis);
    part.starts.push_back(op.starts[i]);
    part.sizes.push_back(op.sizes[i]);
    part.steps.push_back(op.steps[i]);
  }
  return part.axes.empty() ? operand : insert(graph, &node, std::move(part), {operand});
}

// The program with the positions that a slice of its result has.
MapProgram shifted_program(const MapProgram& program, const Slice& op, int64_t rank) {
  return simplify_program(rewrite_program(program, [&](const ProgramRewrite& at) -> std::optional<int> {
    if (at.instr.op != MapOp::iota) return std::nullopt;
    int index = at.out.push(at.instr);
    for (size_t i = 0; i < op.axes.size(); ++i) {
      if (op.axes[i] - rank != at.instr.args[0]) continue;
      index = at.out.binary(MapOp::mul, index, at.out.constant_int(op.steps[i], DType::i64));
      index = at.out.binary(MapOp::add, index, at.out.dim(op.starts[i]));
    }
    return index;
  }));
}

// A slice of what is made by broadcasting or from positions: the part alone is made.
bool slice_before_map(Graph& graph, Node& node, const Slice& op) {
  Value* x = node.input(0);
  const Map* map = producer_as<Map>(x);
  if (map == nullptr || only_user(x) != &node) return false;
  const Node& producer = *x->producer();
  for (const Value* v : producer.inputs())
    if (!v->type().ranked || v->shape() == x->shape()) return false;
  std::vector<Value*> operands;
  for (Value* v : producer.inputs()) operands.push_back(sliced_operand(graph, node, op, v));
  Map part{shifted_program(map->program, op, x->type().rank()), node.output()->shape()};
  replace(graph, &node, node.output(), std::move(part), std::move(operands));
  return true;
}

// Both slices in one; axes stay sorted.
Slice composed(const Slice& inner, const Slice& outer) {
  Slice both = inner;
  for (size_t i = 0; i < outer.axes.size(); ++i) {
    const auto place = std::lower_bound(both.axes.begin(), both.axes.end(), outer.axes[i]);
    const auto k = place - both.axes.begin();
    if (place != both.axes.end() && *place == outer.axes[i]) {
      const auto at = static_cast<size_t>(k);
      both.starts[at] = both.starts[at] + outer.starts[i] * Dim(both.steps[at]);
      both.sizes[at] = outer.sizes[i];
      both.steps[at] *= outer.steps[i];
      continue;
    }
    both.axes.insert(place, outer.axes[i]);
    both.starts.insert(both.starts.begin() + k, outer.starts[i]);
    both.sizes.insert(both.sizes.begin() + k, outer.sizes[i]);
    both.steps.insert(both.steps.begin() + k, outer.steps[i]);
  }
  return both;
}

bool simplify(Graph& graph, Node& node, const Slice& op) {
  Value* x = node.input(0);
  if (node.output()->type() == x->type()) {
    const auto starts_at_0 = [](const Dim& d) { return d == Dim(0); };
    const auto forward = [](int64_t step) { return step == 1; };
    if (std::all_of(op.starts.begin(), op.starts.end(), starts_at_0) &&
        std::all_of(op.steps.begin(), op.steps.end(), forward)) {
      graph.replace_uses(node.output(), x);
      return true;
    }
  }
  if (const Slice* inner = producer_as<Slice>(x)) {
    replace(graph, &node, node.output(), composed(*inner, op), {x->producer()->input(0)});
    return true;
  }
  if (slice_before_map(graph, node, op)) return true;
  // A slice of a concat along the same axis that lies within one part.
  const Concat* concat = producer_as<Concat>(x);
  if (concat == nullptr || op.axes.size() != 1 || op.axes[0] != concat->axis || op.steps[0] != 1) return false;
  Dim begin = 0;
  for (Value* part : x->producer()->inputs()) {
    const Dim size = part->shape()[static_cast<size_t>(concat->axis)];
    const Dim start = op.starts[0] - begin;
    if (start.is_nonnegative() && (size - start - op.sizes[0]).is_nonnegative()) {
      replace(graph, &node, node.output(), Slice{op.axes, {start}, op.sizes, op.steps}, {part});
      return true;
    }
    begin = begin + size;
  }
  return false;
}

bool simplify(Graph& graph, Node& node, const Concat& op) {
  std::vector<Value*> parts;
  bool changed = false;
  for (Value* v : node.inputs()) {
    const bool empty = v->type().ranked && v->shape()[static_cast<size_t>(op.axis)] == Dim(0);
    const Concat* inner = producer_as<Concat>(v);
    const bool nested = inner != nullptr && inner->axis == op.axis && only_user(v) == &node;
    changed = changed || empty || nested;
    if (nested)
      parts.insert(parts.end(), v->producer()->inputs().begin(), v->producer()->inputs().end());
    else if (!empty)
      parts.push_back(v);
  }
  if (parts.size() == 1) {
    graph.replace_uses(node.output(), parts[0]);
    return true;
  }
  if (!changed || parts.empty()) return false;
  replace(graph, &node, node.output(), op, parts);
  return true;
}

bool simplify(Graph& graph, Node& node, const Pad& op) {
  const auto nothing = [](const Dim& d) { return d == Dim(0); };
  if (!std::all_of(op.begins.begin(), op.begins.end(), nothing) ||
      !std::all_of(op.ends.begin(), op.ends.end(), nothing))
    return false;
  graph.replace_uses(node.output(), node.input(0));
  return true;
}

bool simplify(Graph& graph, Node& node, const Reduce& op) {
  const bool keeps_value = op.kind == ReduceKind::sum || op.kind == ReduceKind::mean || op.kind == ReduceKind::max ||
                           op.kind == ReduceKind::min || op.kind == ReduceKind::prod;
  Value* x = node.input(0);
  if (!keeps_value || !x->type().ranked || x->dtype() != node.output()->dtype()) return false;
  for (const int64_t axis : op.axes)
    if (!(x->shape()[static_cast<size_t>(axis)] == Dim(1))) return false;
  graph.replace_uses(node.output(), reshaped(graph, &node, x, node.output()->shape()));
  return true;
}

// Copies the nodes of a region to before `position`; its inputs become `arguments`. Returns its outputs.
std::vector<Value*> inline_region(Graph& graph, Node* position, const Graph& region,
                                  std::span<Value* const> arguments) {
  std::unordered_map<const Value*, Value*> copies;
  for (size_t i = 0; i < region.inputs().size(); ++i) copies[region.inputs()[i]] = arguments[i];
  for (const auto& node : region.nodes()) {
    std::vector<Value*> inputs;
    for (const Value* v : node->inputs()) inputs.push_back(v != nullptr ? copies.at(v) : nullptr);
    std::vector<Type> types;
    for (const Value* v : node->outputs()) types.push_back(v->type());
    Node* copy = graph.insert_typed_before(position, node->op(), std::move(inputs), std::move(types), node->name());
    for (size_t i = 0; i < node->outputs().size(); ++i) {
      if (node->output(i)->is_named()) graph.rename(copy->output(i), node->output(i)->name());
      copies[node->output(i)] = copy->output(i);
    }
  }
  std::vector<Value*> outputs;
  for (const Value* v : region.outputs()) outputs.push_back(copies.at(v));
  return outputs;
}

// The branch's outputs must have the very types of the If: other sizes were merged into symbols that the If binds.
bool simplify(Graph& graph, Node& node, const If& op) {
  const auto condition = uniform_number(node.input(0));
  if (!condition) return false;
  const Graph& branch = (*condition != 0 ? op.then_branch : op.else_branch).graph();
  const bool types_agree =
      std::equal(branch.outputs().begin(), branch.outputs().end(), node.outputs().begin(), node.outputs().end(),
                 [](const Value* a, const Value* b) { return a->type() == b->type(); });
  const bool inputs_agree =
      std::equal(branch.inputs().begin(), branch.inputs().end(), node.inputs().begin() + 1, node.inputs().end(),
                 [](const Value* a, const Value* b) { return a->type() == b->type(); });
  if (!types_agree || !inputs_agree) return false;
  const std::vector<Value*> outputs = inline_region(graph, &node, branch, node.inputs().subspan(1));
  for (size_t i = 0; i < outputs.size(); ++i) graph.replace_uses(node.output(i), outputs[i]);
  return true;
}

template <class T>
bool simplify(Graph&, Node&, const T&) {
  return false;
}

bool visit_node(Graph& graph, Node& node) {
  for (const Value* v : node.outputs())
    if (!v->type().is_tensor() || !v->type().ranked) return false;
  return std::visit([&](const auto& op) { return simplify(graph, node, op); }, node.op());
}

}  // namespace

int simplify_structure(Graph& graph) { return rewrite_nodes(graph, visit_node); }

}  // namespace lathe::passes
