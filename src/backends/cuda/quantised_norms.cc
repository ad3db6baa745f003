#include "backends/cuda/quantised_norms.h"

namespace lathe::cuda {
namespace {

// Row by row, around 0.
bool has_form(const Node& node) {
  const auto* quantize = node.as<DynamicQuantize>();
  const Node* producer = quantize == nullptr ? nullptr : node.input(0)->producer();
  const Norm* norm = producer == nullptr ? nullptr : producer->as<Norm>();
  if (norm == nullptr || producer->outputs().size() > 2 || norm->axis != quantize->axis) return false;
  if (node.input(0) != producer->output(0) || !(quantize->symmetric || quantize->floating)) return false;
  return node.outputs().size() < 3 || (node.output(2)->users().empty() && !node.output(2)->is_output());
}

void fuse(Graph& graph, Node& quantize) {
  Node& norm = *quantize.input(0)->producer();
  const size_t bytes = quantize.as<DynamicQuantize>()->floating ? 4 : 2;  // of the norm's outputs, then their scales
  Node* fused =
      graph.insert_before(&norm, norm.op(), {norm.inputs().begin(), norm.inputs().end()}, bytes + 2, norm.name());
  for (size_t i = 0; i < norm.outputs().size(); ++i) graph.replace_uses(norm.output(i), fused->output(i));
  for (size_t i = 0; i < std::min<size_t>(quantize.outputs().size(), 2); ++i)
    graph.replace_uses(quantize.output(i), fused->output(bytes + i));
  graph.erase(&quantize);
  graph.erase(&norm);
}

}  // namespace

int fuse_quantised_norms(Graph& graph) {
  int fused = 0;
  for (Node* node : snapshot(graph)) {
    // A norm that is erased on the way has been seen: it stands before what reads it.
    for (Region* region : regions_of(node->mutable_op())) fused += fuse_quantised_norms(region->graph());
    if (!has_form(*node)) continue;
    fuse(graph, *node);
    ++fused;
  }
  return fused;
}

}  // namespace lathe::cuda
