// Nodes with equal ops and equal operands become one. Constants with equal bytes count as equal ops, so weights that an
// exporter stored twice are kept once. Nodes that bind symbols stay: their symbols have names of their own.
#include <unordered_map>

#include "graph/symbols.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

size_t mix(size_t seed, size_t value) { return seed ^ (value + 0x9e3779b97f4a7c15u + (seed << 6) + (seed >> 2)); }

// Equal nodes have equal keys; the rest is left to op_equal.
size_t key_of(const Node& node) {
  size_t key = node.op().index();
  for (const Value* v : node.inputs()) key = mix(key, std::hash<const Value*>()(v));
  if (const Constant* constant = node.as<Constant>()) {
    const Tensor& value = constant->value;
    const auto bytes = value.is_deferred() ? std::span<const std::byte>() : value.bytes();
    for (const int64_t d : value.dims()) key = mix(key, static_cast<size_t>(d));
    for (size_t i = 0; i < std::min<size_t>(bytes.size(), 64); ++i) key = mix(key, static_cast<size_t>(bytes[i]));
  }
  return mix(key, node.outputs().size());
}

bool same(const Node& a, const Node& b) {
  return std::equal(a.inputs().begin(), a.inputs().end(), b.inputs().begin(), b.inputs().end()) &&
         a.outputs().size() == b.outputs().size() && op_equal(a.op(), b.op());
}

int merge(Graph& graph) {
  int merged = 0;
  std::unordered_map<size_t, std::vector<Node*>> seen;
  for (Node* node : snapshot(graph)) {
    for (Region* region : regions_of(node->mutable_op())) merged += merge(region->graph());
    if (node->outputs().empty() || !symbols_bound_by(*node).empty()) continue;
    std::vector<Node*>& bucket = seen[key_of(*node)];
    const auto twin = std::find_if(bucket.begin(), bucket.end(), [&](const Node* n) { return same(*n, *node); });
    if (twin == bucket.end()) {
      bucket.push_back(node);
      continue;
    }
    for (size_t i = 0; i < node->outputs().size(); ++i) graph.replace_uses(node->output(i), (*twin)->output(i));
    graph.erase(node);
    ++merged;
  }
  return merged;
}

}  // namespace

int common_subexpressions(Graph& graph) { return merge(graph); }

}  // namespace lathe::passes
