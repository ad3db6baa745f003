// A lowered graph: the steps in order, the values they read and write, and the weights in the layouts that the steps
// want. Made from a graph by lower(); the executor in runtime/ runs it. Holds pointers into the graph, which must
// outlive it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "graph/graph.h"

namespace lathe {

// A constant in one layout. `node` is the Constant node of the graph.
struct Weight {
  const Node* node = nullptr;
  WeightLayout layout;
  const Type& type() const { return node->output()->type(); }
};

struct ProgramValue {
  const Value* value = nullptr;
  int weight = -1;  // index into Program::weights, for constants
  int root = 0;     // the value whose memory this one shares (itself unless an alias)
};

struct ProgramStep {
  const Node* node = nullptr;
  std::unique_ptr<Step> step;        // null for Bind, which the executor does itself
  std::vector<int> inputs, outputs;  // value indices, -1 for absent operands
  std::string kernel;                // "gemm"; of a fallback, the other backend's
  bool fallback = false;             // runs on another backend because the device has no kernel for it
  std::string reason;                // why it fell back, or why better candidates declined
};

struct Program {
  std::vector<ProgramValue> values;
  std::vector<ProgramStep> steps;
  std::vector<Weight> weights;
  std::vector<int> inputs, outputs;  // value indices, in the order of the graph's
};

// Kernel choices by node index (position in Graph::nodes()) where they differ from the first accepted candidate.
using KernelChoices = std::map<size_t, std::string>;

// `fallbacks` serve, in their order, the nodes for which no candidate of `backend` accepts; throws Error(unsupported)
// when all decline. They are backends of the host; where the device has memory of its own, what they run is a HostStep.
Program lower(const Graph& graph, const Backend& backend, std::span<const std::unique_ptr<Backend>> fallbacks,
              const KernelChoices& choices = {});

}  // namespace lathe
