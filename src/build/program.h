// A lowered graph: the steps in order, the values they read and write, and the weights in the layouts that the steps
// want. Made from a graph by lower(); the executor in runtime/ runs it. Holds pointers into the graph, which must
// outlive it. Regions of control flow are programs of their own, run by the executor whatever the device; they take
// their weights from the table of the outermost program, where a weight that several of them read stands once.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "backends/backend.h"
#include "build/kernel_choice.h"
#include "graph/graph.h"

namespace lathe {

// A constant in one layout. `node` is a Constant node of the graph or of one of its regions.
struct Weight {
  const Node* node = nullptr;
  WeightLayout layout;
  const Type& type() const { return node->output()->type(); }
  const Tensor& constant() const { return node->as<Constant>()->value; }
};

struct ProgramValue {
  const Value* value = nullptr;
  int weight = -1;  // index into the outermost program's weights, for constants
  int root = 0;     // the value whose memory this one shares (itself unless an alias)
};

struct Program;

struct ProgramStep {
  const Node* node = nullptr;
  std::unique_ptr<Step> step;        // null for what the executor does itself: Bind and control flow
  std::vector<Program> regions;      // of control flow, in the order of regions_of(); else empty
  std::vector<int> inputs, outputs;  // value indices, -1 for absent operands
  KernelChoice choice;               // of the device's kernels; empty where it serves nothing
  std::string kernel;                // "gemm"; of a fallback, the other backend's; of control flow, the op's name
  bool fallback = false;             // runs on another backend because the device has no kernel for it
  std::string reason;                // why it fell back, or why better candidates declined
};

struct Program {
  std::vector<ProgramValue> values;
  std::vector<ProgramStep> steps;
  std::vector<Weight> weights;       // empty in regions
  std::vector<int> inputs, outputs;  // value indices, in the order of the graph's
};

// Calls visit(step) for each step, those of regions after the step that holds them.
template <class Visit>
void visit_steps(const Program& program, const Visit& visit) {
  for (const ProgramStep& step : program.steps) {
    visit(step);
    for (const Program& region : step.regions) visit_steps(region, visit);
  }
}

// Numbers the nodes of a graph and its regions: in order, those of regions after the node that holds them.
std::unordered_map<const Node*, size_t> number_nodes(const Graph& graph);

// `fallbacks` serve, in their order, the nodes for which no candidate of `backend` accepts; throws Error(unsupported)
// when all decline. They are backends of the host; where the device has memory of its own, what they run is a HostStep.
Program lower(const Graph& graph, const Backend& backend, std::span<const std::unique_ptr<Backend>> fallbacks,
              const KernelChoices& choices = {});

}  // namespace lathe
