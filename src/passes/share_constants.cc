// Equal constants of a graph and its regions come to share one storage, so that a plan holds them once: the branches of
// a merged decoder each have weights that other passes have joined or transposed. Within one graph,
// common-subexpressions has merged them already.
#include <algorithm>
#include <map>
#include <unordered_map>

#include "graph/hash.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

constexpr size_t kWorthHashing = 1024, kWorthComparing = 64;  // bytes

bool has_bytes(const Tensor& tensor, size_t least) {
  return tensor.dtype() != DType::string && tensor.bytes().size() >= least;
}

void collect(Graph& graph, size_t least, std::vector<Constant*>& constants) {
  for (const auto& node : graph.nodes()) {
    if (Constant* constant = node->as<Constant>(); constant != nullptr && has_bytes(constant->value, least))
      constants.push_back(constant);
    for (Region* region : regions_of(node->mutable_op())) collect(region->graph(), least, constants);
  }
}

}  // namespace

int share_constants(Graph& graph) {
  const auto has_regions = [](const auto& node) { return !regions_of(node->op()).empty(); };
  if (std::none_of(graph.nodes().begin(), graph.nodes().end(), has_regions)) return 0;
  std::vector<Constant*> constants;
  collect(graph, kWorthHashing, constants);
  int shared = 0;
  std::unordered_map<uint64_t, std::vector<const Tensor*>> seen;
  for (Constant* constant : constants) {
    std::vector<const Tensor*>& bucket = seen[hash(constant->value.bytes())];
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

// Weights of equal sizes mostly differ in their first elements, so that they are compared, not hashed.
int share_constants(Graph& graph, const Graph& other) {
  std::map<std::vector<int64_t>, std::vector<const Tensor*>> theirs;
  for (const auto& node : other.nodes())
    if (const auto* constant = node->as<Constant>(); constant != nullptr && has_bytes(constant->value, kWorthComparing))
      theirs[constant->value.dims()].push_back(&constant->value);
  std::vector<Constant*> constants;
  collect(graph, kWorthComparing, constants);
  int shared = 0;
  for (Constant* constant : constants) {
    const auto& bucket = theirs[constant->value.dims()];
    const auto twin =
        std::find_if(bucket.begin(), bucket.end(), [&](const Tensor* tensor) { return *tensor == constant->value; });
    if (twin == bucket.end()) continue;
    constant->value = **twin;
    ++shared;
  }
  return shared;
}

}  // namespace lathe::passes
