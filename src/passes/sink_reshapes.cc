// Keeps activations in [batch, sequence, features]: a reshape that joins leading axes ([batch * sequence, features], as
// exporters put it before Gemm) moves behind the matmuls, norms and maps that work on rows alone, where it meets the
// reshape that takes it back.
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "passes/view.h"

namespace lathe::passes {
namespace {

// The source of a reshape that joins leading axes and keeps the last one.
Value* rows_before(const Value* value) {
  const Reshape* reshape = producer_as<Reshape>(value);
  if (reshape == nullptr) return nullptr;
  Value* source = value->producer()->input(0);
  if (!source->type().ranked || reshape->shape.empty() || source->shape().size() <= reshape->shape.size())
    return nullptr;
  return source->shape().back() == reshape->shape.back() ? source : nullptr;
}

// The operand has one row at most, so it is broadcast to rows however these are arranged.
bool is_one_row(const Value* v) {
  if (!v->type().ranked) return false;
  return v->shape().size() <= 1 ||
         std::all_of(v->shape().begin(), v->shape().end() - 1, [](const Dim& d) { return d == Dim(1); });
}

Value* as_row(Graph& graph, Node* position, Value* v) {
  return v->shape().size() <= 1 ? v : reshaped(graph, position, v, {v->shape().back()});
}

void sink_below(Graph& graph, Node& node, Op op, std::vector<Value*> inputs) {
  Value* rows = graph.insert_before(&node, std::move(op), std::move(inputs), 1, node.name())->output();
  graph.replace_uses(node.output(), reshaped(graph, &node, rows, node.output()->shape()));
}

bool sink(Graph& graph, Node& node, const MatMul& op) {
  Value* rows = rows_before(node.input(0));
  if (rows == nullptr || op.trans_a || !is_tensor_of_rank(node.input(1), 2)) return false;
  std::vector<Value*> inputs(node.inputs().begin(), node.inputs().end());
  inputs[0] = rows;
  for (size_t i = 2; i < inputs.size(); ++i)
    if (!is_one_row(inputs[i])) return false;
  for (size_t i = 2; i < inputs.size(); ++i) inputs[i] = as_row(graph, &node, inputs[i]);
  sink_below(graph, node, op, std::move(inputs));
  return true;
}

bool sink(Graph& graph, Node& node, const Norm& op) {
  Value* rows = op.num_x == 1 ? rows_before(node.input(0)) : nullptr;
  if (rows == nullptr || node.outputs().size() != 1 ||
      op.axis + 1 != static_cast<int64_t>(node.input(0)->shape().size()))
    return false;
  std::vector<Value*> inputs(node.inputs().begin(), node.inputs().end());
  inputs[0] = rows;
  Norm moved = op;
  moved.axis = static_cast<int64_t>(rows->shape().size()) - 1;
  sink_below(graph, node, moved, std::move(inputs));
  return true;
}

bool sink(Graph& graph, Node& node, const Map& op) {
  if (op.shape || op.program.uses_iota()) return false;
  const Shape* before = nullptr;
  for (const Value* v : node.inputs()) {
    const Value* rows = rows_before(v);
    if (rows == nullptr) {
      if (!is_one_row(v)) return false;
      continue;
    }
    if ((before != nullptr && *before != rows->shape()) || v->shape() != node.output()->shape()) return false;
    before = &rows->shape();
  }
  if (before == nullptr) return false;
  std::vector<Value*> inputs;
  for (Value* v : node.inputs()) {
    Value* rows = rows_before(v);
    inputs.push_back(rows != nullptr ? rows : as_row(graph, &node, v));
  }
  sink_below(graph, node, op, std::move(inputs));
  return true;
}

template <class T>
bool sink(Graph&, Node&, const T&) {
  return false;
}

bool visit_node(Graph& graph, Node& node) {
  if (node.outputs().size() != 1 || !node.output()->type().ranked) return false;
  return std::visit([&](const auto& op) { return sink(graph, node, op); }, node.op());
}

}  // namespace

int sink_reshapes(Graph& graph) { return rewrite_nodes(graph, visit_node); }

}  // namespace lathe::passes
