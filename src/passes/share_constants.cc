// Equal constants of a graph and its regions come to share one storage, so that a plan holds them once: the branches of
// a merged decoder each have weights that other passes have joined or transposed. Within one graph,
// common-subexpressions has merged them already.
#include <unordered_map>

#include "graph/hash.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

constexpr size_t kWorthSharing = 1024;  // bytes

void collect(Graph& graph, std::vector<Constant*>& constants) {
  for (const auto& node : graph.nodes()) {
    if (Constant* constant = node->as<Constant>(); constant != nullptr && constant->value.dtype() != DType::string &&
                                                   constant->value.bytes().size() >= kWorthSharing)
      constants.push_back(constant);
    for (Region* region : regions_of(node->mutable_op())) collect(region->graph(), constants);
  }
}

uint64_t key_of(const Tensor& tensor) {
  Hasher hasher;
  hasher.add(tensor.bytes());
  return hasher.finish();
}

}  // namespace

int share_constants(Graph& graph) {
  const auto has_regions = [](const auto& node) { return !regions_of(node->op()).empty(); };
  if (std::none_of(graph.nodes().begin(), graph.nodes().end(), has_regions)) return 0;
  std::vector<Constant*> constants;
  collect(graph, constants);
  int shared = 0;
  std::unordered_map<uint64_t, std::vector<const Tensor*>> seen;
  for (Constant* constant : constants) {
    std::vector<const Tensor*>& bucket = seen[key_of(constant->value)];
    const auto twin =
        std::find_if(bucket.begin(), bucket.end(), [&](const Tensor* tensor) { return *tensor == constant->value; });
    if (twin == bucket.end()) {
      bucket.push_back(&constant->value);
    } else if ((*twin)->bytes().data() != constant->value.bytes().data()) {
      constant->value = **twin;
      ++shared;
    }
  }
  return shared;
}

}  // namespace lathe::passes
