// Computes at build time what depends on constants only, by the reference evaluator. Results that are larger than their
// operands stay computed (a range, an expanded weight, f16 weights behind a cast), unless a matmul or convolution takes
// them as weights, which are packed at build time anyway. Masks made of positions stay programs: fusions read them.
#include "graph/reference/evaluator.h"
#include "graph/symbols.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

constexpr size_t kFreeGrowth = size_t{64} << 10;  // bytes by which any folded result may exceed its operands
constexpr int64_t kMaxElements = int64_t{1} << 28;

bool is_foldable_op(const Node& node) {
  const Op& op = node.op();
  if (std::holds_alternative<Constant>(op) || std::holds_alternative<Bind>(op)) return false;
  if (std::holds_alternative<If>(op) || std::holds_alternative<Loop>(op) || std::holds_alternative<Scan>(op))
    return false;
  std::vector<std::string> symbols;
  collect_symbols(op, symbols);
  return symbols.empty();
}

bool are_operands_constant(const Node& node) {
  const auto known = [](const Value* v) { return v == nullptr || constant_tensor(v) != nullptr; };
  return std::all_of(node.inputs().begin(), node.inputs().end(), known);
}

bool has_static_outputs(const Node& node) {
  return std::all_of(node.outputs().begin(), node.outputs().end(), [](const Value* v) {
    return is_static(v) && v->dtype() != DType::string && bit_width(v->dtype()) >= 8;
  });
}

// A map without operands is a program over positions. As an operand of another map it is worth more as a program.
bool is_better_as_program(const Node& node) {
  if (!node.is<Map>() || !node.inputs().empty()) return false;
  const auto reads_program = [](const Node* user) { return user->is<Map>() || user->is<Reshape>(); };
  const Value* v = node.output();
  return !v->is_output() && std::all_of(v->users().begin(), v->users().end(), reads_program);
}

bool is_weight(const Value* value) {
  const auto takes_weight = [&](const Node* user) {
    if (user->is<GroupedMatMul>()) return user->input(0) != value && user->input(1) != value;
    return (user->is<MatMul>() || user->is<Conv>() || user->is<ConvTranspose>()) && user->input(1) == value;
  };
  return !value->users().empty() && std::all_of(value->users().begin(), value->users().end(), takes_weight);
}

bool may_grow(const Node& node) {
  size_t before = 0, after = 0;
  for (const Value* v : node.inputs())
    if (v != nullptr) before += constant_tensor(v)->bytes().size();
  for (const Value* v : node.outputs()) {
    std::vector<int64_t> dims;
    for (const Dim& d : v->shape()) dims.push_back(d.value());
    const int64_t elements = element_count(dims);
    if (elements > kMaxElements) return false;
    after += storage_bytes(v->dtype(), elements);
  }
  return after <= before + kFreeGrowth || is_weight(node.output());
}

bool fold(Graph& graph, Node& node) {
  if (node.outputs().empty() || !is_foldable_op(node) || !are_operands_constant(node) || !has_static_outputs(node))
    return false;
  if (is_better_as_program(node) || !may_grow(node)) return false;
  std::vector<RefValue> operands;
  for (const Value* v : node.inputs()) operands.push_back(v != nullptr ? RefValue(*constant_tensor(v)) : RefValue());
  std::vector<const RefValue*> pointers;
  for (size_t i = 0; i < operands.size(); ++i) pointers.push_back(node.input(i) != nullptr ? &operands[i] : nullptr);
  SymbolBindings none;
  std::vector<RefValue> results = evaluate_op(node.op(), pointers, node.outputs().size(), none);
  for (size_t i = 0; i < results.size(); ++i)
    graph.replace_uses(node.output(i), insert(graph, &node, Constant{std::get<Tensor>(std::move(results[i]))}, {}));
  return true;
}

}  // namespace

int fold_constants(Graph& graph) { return rewrite_nodes(graph, fold); }

}  // namespace lathe::passes
