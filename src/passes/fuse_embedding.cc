// A norm over a sum of table look-ups becomes one step.
#include "passes/expr.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

constexpr size_t kMaxTables = 4;

// Splits a sum into the values that are added; false if anything else is in it.
bool collect_terms(const Expr& e, std::vector<Value*>& terms) {
  if (e.is_opaque()) {
    terms.push_back(e.value());
    return terms.size() <= kMaxTables;
  }
  return e.op() == MapOp::add && collect_terms(e.arg(0), terms) && collect_terms(e.arg(1), terms);
}

// A look-up of rows whose result is aligned with the sum: the last axis is the table's, the others are those of the
// ids.
bool is_lookup(const Value* term, const Value* sum) {
  const Gather* gather = producer_as<Gather>(term);
  if (gather == nullptr || gather->axis != 0 || term->dtype() != sum->dtype()) return false;
  const Node& node = *term->producer();
  return is_tensor_of_rank(node.input(0), 2) && node.input(1)->type().ranked &&
         term->shape().back() == sum->shape().back();
}

bool fuse(Graph& graph, Node& node) {
  const Norm* norm = node.as<Norm>();
  if (norm == nullptr || !norm->prologue.empty() || node.outputs().size() != 1 || node.input(1) == nullptr)
    return false;
  Value* sum = node.input(0);
  if (only_user(sum) != &node || norm->axis + 1 != static_cast<int64_t>(sum->shape().size())) return false;
  std::vector<Value*> terms;
  if (!collect_terms(Expr(sum), terms)) return false;
  Embedding embedding{static_cast<int64_t>(terms.size()), norm->kind, norm->epsilon};
  std::vector<Value*> inputs;
  Shape ids;
  for (const Value* term : terms) {
    if (!is_lookup(term, sum)) return false;
    inputs.push_back(term->producer()->input(1));
    inputs.push_back(term->producer()->input(0));
    ids = broadcast(ids, inputs[inputs.size() - 2]->shape());
  }
  const auto is_parameter = [&](const Value* v) { return is_tensor_of_rank(v, 1) && v->dtype() == sum->dtype(); };
  if (!is_parameter(node.input(1)) || (node.input(2) != nullptr && !is_parameter(node.input(2)))) return false;
  if (!(ids == Shape(sum->shape().begin(), sum->shape().end() - 1))) return false;
  inputs.push_back(node.input(1));
  if (node.input(2) != nullptr) inputs.push_back(node.input(2));
  replace(graph, &node, node.output(), embedding, std::move(inputs));
  return true;
}

}  // namespace

int fuse_embedding(Graph& graph) { return rewrite_nodes(graph, fuse); }

}  // namespace lathe::passes
