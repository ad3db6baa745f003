// Moves transposes and row-major reshapes behind maps, towards the end of the graph, where pairs of them meet and
// cancel. A map moves when all that it reads is moved alike, or does not notice.
#include "passes/map_writer.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "passes/view.h"

namespace lathe::passes {
namespace {

std::vector<int64_t> inverse(const std::vector<int64_t>& perm) {
  std::vector<int64_t> r(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) r[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  return r;
}

// The operand before the transpose: its source where it is transposed so, a constant transposed back (folded later), or
// itself where it is a scalar. Null if it is none of these.
Value* before_transpose(Graph& graph, Node* position, Value* operand, const std::vector<int64_t>& perm) {
  if (const Transpose* t = producer_as<Transpose>(operand); t != nullptr && t->perm == perm)
    return operand->producer()->input(0);
  if (operand->shape().empty()) return operand;
  if (constant_tensor(operand) == nullptr || operand->shape().size() > perm.size()) return nullptr;
  Shape full(perm.size() - operand->shape().size(), Dim(1));
  full.insert(full.end(), operand->shape().begin(), operand->shape().end());
  return transposed(graph, position, reshaped(graph, position, operand, full), inverse(perm));
}

const Transpose* sinkable_transpose(const Node& map) {
  for (const Value* v : map.inputs()) {
    const Transpose* t = producer_as<Transpose>(v);
    if (t != nullptr && only_user(v) == &map) return t;
  }
  return nullptr;
}

bool can_sink(const Node& map, const std::vector<int64_t>& perm) {
  const auto fits = [&](const Value* v) {
    const Transpose* t = producer_as<Transpose>(v);
    if (t != nullptr && t->perm == perm) return v->shape().size() == map.output()->shape().size();
    return v->shape().empty() || constant_tensor(v) != nullptr;
  };
  return std::all_of(map.inputs().begin(), map.inputs().end(), fits);
}

// The last axis carries vectors: a transpose that leaves it in place costs little and is not worth moving for its own
// sake, but the map's users may cancel it.
bool sink(Graph& graph, Node& node) {
  const Map* map = node.as<Map>();
  if (map == nullptr || map->shape || map->program.uses_iota() || !node.output()->type().ranked) return false;
  const Transpose* transpose = sinkable_transpose(node);
  if (transpose == nullptr || !can_sink(node, transpose->perm)) return false;
  const std::vector<int64_t> perm = transpose->perm;
  if (perm.size() != node.output()->shape().size()) return false;
  std::vector<Value*> operands;
  for (Value* v : node.inputs()) operands.push_back(before_transpose(graph, &node, v, perm));
  Value* result = insert(graph, &node, *map, std::move(operands));
  graph.replace_uses(node.output(), transposed(graph, &node, result, perm));
  return true;
}

// A rotation works on the last axis; tables of few rows are moved instead of what they rotate.
bool sink_below_rotary(Graph& graph, Node& node, const Rotary& op) {
  const Transpose* transpose = producer_as<Transpose>(node.input(0));
  if (transpose == nullptr || transpose->perm.back() + 1 != static_cast<int64_t>(transpose->perm.size())) return false;
  const std::vector<int64_t> perm = transpose->perm;
  std::vector<Value*> inputs = {node.input(0)->producer()->input(0)};
  for (size_t i = 1; i < 3; ++i) {
    Value* table = node.input(i);
    Shape full(perm.size() - table->shape().size(), Dim(1));
    full.insert(full.end(), table->shape().begin(), table->shape().end());
    inputs.push_back(transposed(graph, &node, reshaped(graph, &node, table, full), inverse(perm)));
  }
  Value* rotated = insert(graph, &node, op, std::move(inputs));
  graph.replace_uses(node.output(), transposed(graph, &node, rotated, perm));
  return true;
}

bool visit_node(Graph& graph, Node& node) {
  if (const Rotary* rotary = node.as<Rotary>())
    return node.output()->type().ranked && sink_below_rotary(graph, node, *rotary);
  return sink(graph, node);
}

}  // namespace

int sink_transposes(Graph& graph) { return rewrite_nodes(graph, visit_node); }

}  // namespace lathe::passes
