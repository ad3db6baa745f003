// A transpose of the last two axes of a matmul operand becomes a flag: the kernel reads, or the packer packs, the other
// way.
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

// The source of a transpose that swaps the last two axes and nothing else.
Value* swapped_source(const Value* value) {
  const Transpose* t = producer_as<Transpose>(value);
  if (t == nullptr || t->perm.size() < 2) return nullptr;
  const size_t n = t->perm.size();
  for (size_t i = 0; i + 2 < n; ++i)
    if (t->perm[i] != static_cast<int64_t>(i)) return nullptr;
  const bool swapped = t->perm[n - 1] == static_cast<int64_t>(n) - 2;
  return swapped ? value->producer()->input(0) : nullptr;
}

bool fold(Graph& graph, Node& node) {
  const MatMul* matmul = node.as<MatMul>();
  if (matmul == nullptr) return false;
  MatMul better = *matmul;
  std::vector<Value*> inputs(node.inputs().begin(), node.inputs().end());
  Value* a = swapped_source(inputs[0]);
  Value* b = swapped_source(inputs[1]);
  if (a == nullptr && b == nullptr) return false;
  if (a != nullptr) {
    better.trans_a = !better.trans_a;
    inputs[0] = a;
  }
  if (b != nullptr) {
    better.trans_b = !better.trans_b;
    inputs[1] = b;
  }
  replace(graph, &node, node.output(), std::move(better), std::move(inputs));
  return true;
}

}  // namespace

int fold_transposes(Graph& graph) { return rewrite_nodes(graph, fold); }

}  // namespace lathe::passes
