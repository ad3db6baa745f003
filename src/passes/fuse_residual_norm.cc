// The map that computes what a norm normalises (a residual sum, a bias, a cast) becomes the norm's prologue. When
// others use the sum too, the norm gives it as a second output.
#include "passes/map_writer.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

constexpr size_t kMaxOperands = 4;
constexpr int kMaxCost = 8;

bool comes_after(const Graph& graph, const Node* later, const Node* earlier) {
  for (const auto& node : graph.nodes()) {
    if (node.get() == earlier) return true;
    if (node.get() == later) return false;
  }
  return false;
}

bool is_prologue(const Graph& graph, const Node& norm, const Value* x) {
  const Map* map = producer_as<Map>(x);
  if (map == nullptr || map->shape || map->program.uses_iota() || cost(map->program) > kMaxCost) return false;
  const Node& producer = *x->producer();
  if (producer.inputs().empty() || producer.inputs().size() > kMaxOperands || !x->type().ranked) return false;
  return std::all_of(x->users().begin(), x->users().end(),
                     [&](const Node* user) { return user == &norm || comes_after(graph, user, &norm); });
}

bool fuse(Graph& graph, Node& node) {
  const Norm* norm = node.as<Norm>();
  if (norm == nullptr || !norm->prologue.empty() || node.outputs().size() != 1) return false;
  Value* x = node.input(0);
  if (!is_prologue(graph, node, x)) return false;
  const bool keeps_sum = only_user(x) != &node;
  Norm fused = *norm;
  fused.prologue = x->producer()->as<Map>()->program;
  fused.num_x = static_cast<int64_t>(x->producer()->inputs().size());
  std::vector<Value*> inputs(x->producer()->inputs().begin(), x->producer()->inputs().end());
  inputs.insert(inputs.end(), node.inputs().begin() + 1, node.inputs().end());
  Node* done = graph.insert_before(&node, std::move(fused), std::move(inputs), keeps_sum ? 2 : 1, node.name());
  graph.replace_uses(node.output(), done->output(0));
  if (keeps_sum) {
    graph.set_input(&node, 0, done->output(1));  // the old norm is dead; it must not keep the map alive
    graph.replace_uses(x, done->output(1));
  }
  return true;
}

}  // namespace

int fuse_residual_norm(Graph& graph) { return rewrite_nodes(graph, fuse); }

}  // namespace lathe::passes
