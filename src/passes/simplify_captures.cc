// What regions take from the graph around them, made as little as it can be: a captured constant becomes a constant of
// the region, where patterns and weight packing see it (the bytes are shared, not copied), a captured value that no
// region reads goes, and a Scan along other axes than the first becomes one along the first, between transposes.
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

// The first operand that is captured, and the region input that stands for it. Nothing is captured by other ops.
struct Captures {
  size_t operand, input;
};
Captures captures_of(const Node& node) {
  if (node.is<If>()) return {1, 0};
  if (const Loop* loop = node.as<Loop>()) {
    const auto first = 2 + static_cast<size_t>(loop->num_carried);
    return {first, first};
  }
  if (const Scan* scan = node.as<Scan>()) {
    const auto first = static_cast<size_t>(scan->num_states + scan->num_scanned);
    return {first, first};
  }
  return {node.inputs().size(), 0};
}

bool sink_constant(Graph& region, Value* input, const Tensor& constant) {
  if (input->is_unused()) return false;
  Constant op{constant};
  Value* inside = region.nodes().empty() ? region.emit(std::move(op), {})
                                         : insert(region, region.nodes().front().get(), std::move(op), {});
  region.replace_uses(input, inside);
  return true;
}

// A type that says the same inside and outside names no symbol that this input alone gives a value.
bool is_superfluous(Node& node, size_t input, const Type& outside) {
  for (Region* region : regions_of(node.mutable_op())) {
    const Value& inside = *region->graph().inputs()[input];
    if (!inside.is_unused() || !(inside.type() == outside)) return false;
  }
  return true;
}

bool simplify_captures_of(Graph& graph, Node& node) {
  const Captures first = captures_of(node);
  std::vector<Value*> operands(node.inputs().begin(), node.inputs().end());
  bool changed = false;
  for (size_t i = operands.size(); i-- > first.operand;) {
    if (operands[i] == nullptr) continue;
    const size_t input = first.input + i - first.operand;
    if (const Tensor* constant = constant_tensor(operands[i]))
      for (Region* region : regions_of(node.mutable_op()))
        changed |= sink_constant(region->graph(), region->graph().inputs()[input], *constant);
    if (!is_superfluous(node, input, operands[i]->type())) continue;
    for (Region* region : regions_of(node.mutable_op())) region->graph().erase_input(input);
    operands.erase(operands.begin() + static_cast<std::ptrdiff_t>(i));
    changed = true;
  }
  if (changed) graph.set_inputs(&node, std::move(operands));
  return changed;
}

std::vector<int64_t> moved_axis(int64_t rank, int64_t from, int64_t to) {
  std::vector<int64_t> perm;
  for (int64_t axis = 0; axis < rank; ++axis)
    if (axis != from) perm.push_back(axis);
  perm.insert(perm.begin() + to, from);
  return perm;
}

Type permuted(Type type, const std::vector<int64_t>& perm) {
  const Shape shape = type.shape;
  for (size_t i = 0; i < perm.size(); ++i) type.shape[i] = shape[static_cast<size_t>(perm[i])];
  return type;
}

bool scan_along_first_axis(Graph& graph, Node& node) {
  const Scan* scan = node.as<Scan>();
  if (scan == nullptr) return false;
  const auto other = [](int64_t axis) { return axis != 0; };
  if (std::none_of(scan->input_axes.begin(), scan->input_axes.end(), other) &&
      std::none_of(scan->output_axes.begin(), scan->output_axes.end(), other))
    return false;
  const auto states = static_cast<size_t>(scan->num_states), scanned = static_cast<size_t>(scan->num_scanned);
  const auto unranked = [](const Value* v) { return !v->type().ranked; };
  if (std::any_of(node.outputs().begin(), node.outputs().end(), unranked) ||
      std::any_of(node.inputs().begin(), node.inputs().begin() + static_cast<std::ptrdiff_t>(states + scanned),
                  unranked))
    return false;

  Scan first = *scan;
  std::vector<Value*> operands(node.inputs().begin(), node.inputs().end());
  for (size_t k = 0; k < scanned; ++k) {
    Value*& operand = operands[states + k];
    operand = insert(graph, &node, Transpose{moved_axis(operand->type().rank(), scan->input_axes[k], 0)}, {operand});
  }
  std::vector<Type> types;
  for (const Value* v : node.outputs()) types.push_back(v->type());
  for (size_t k = states; k < types.size(); ++k)
    types[k] = permuted(types[k], moved_axis(types[k].rank(), scan->output_axes[k - states], 0));
  first.input_axes.assign(scanned, 0);
  first.output_axes.assign(scan->output_axes.size(), 0);
  Node* inner = graph.insert_typed_before(&node, std::move(first), std::move(operands), types, node.name());
  for (size_t k = 0; k < types.size(); ++k) {
    Value* result = inner->output(k);
    if (k >= states)
      result = insert(graph, &node, Transpose{moved_axis(types[k].rank(), 0, scan->output_axes[k - states])}, {result});
    graph.replace_uses(node.output(k), result);
  }
  return true;
}

bool simplify(Graph& graph, Node& node) {
  if (regions_of(node.op()).empty()) return false;
  return scan_along_first_axis(graph, node) || simplify_captures_of(graph, node);
}

}  // namespace

int simplify_captures(Graph& graph) { return rewrite_nodes(graph, simplify); }

}  // namespace lathe::passes
