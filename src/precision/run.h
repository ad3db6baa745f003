// Small things that running graphs over batches takes.
#pragma once

#include <span>
#include <vector>

#include "graph/graph.h"
#include "lathe/lathe.h"
#include "precision/batches.h"

namespace lathe::precision {

inline std::span<const Output> run(Session& session, const Batch& batch) {
  std::vector<Input> inputs;
  for (const auto& [name, tensor] : batch)
    inputs.emplace_back(name, tensor.dtype(), tensor.dims(), tensor.bytes().data());
  return session.run(inputs);
}

inline std::vector<Node*> nodes_of(const Graph& graph) {
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) nodes.push_back(node.get());
  return nodes;
}

}  // namespace lathe::precision
