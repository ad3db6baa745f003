// Node by node: ask the backend for candidates, take the chosen or first accepted one, and wire its operands.
#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "build/host_step.h"
#include "build/program.h"

namespace lathe {
namespace {

class Lowering {
 public:
  Lowering(const Graph& graph, const Backend& backend, std::span<const std::unique_ptr<Backend>> fallbacks,
           const KernelChoices& choices)
      : graph_(graph), backend_(backend), fallbacks_(fallbacks), choices_(choices) {}

  Program run() && {
    for (const Value* input : graph_.inputs()) program_.inputs.push_back(add_value(input));
    size_t index = 0;
    for (const auto& node : graph_.nodes()) lower_node(*node, index++);
    for (const Value* output : graph_.outputs()) program_.outputs.push_back(value_index_.at(output));
    backend_.finish_lowering();
    return std::move(program_);
  }

 private:
  int add_value(const Value* value) {
    const int index = static_cast<int>(program_.values.size());
    program_.values.push_back({value, -1, index});
    value_index_.emplace(value, index);
    return index;
  }

  // The value that stands for constant operand `value` in the given layout; each (constant, layout) pair is one weight.
  int constant_value(const Value* value, const WeightLayout& layout) {
    std::vector<int>& forms = constant_forms_[value];
    for (const int form : forms)
      if (program_.weights[static_cast<size_t>(program_.values[static_cast<size_t>(form)].weight)].layout == layout)
        return form;
    const int weight = static_cast<int>(program_.weights.size());
    program_.weights.push_back({value->producer(), layout});
    const int index = static_cast<int>(program_.values.size());
    program_.values.push_back({value, weight, index});
    value_index_.try_emplace(value, index);
    forms.push_back(index);
    return index;
  }

  void lower_node(const Node& node, size_t index) {
    if (node.is<Constant>()) {
      // A weight enters the program when a step or the graph's outputs use it; an output needs it plain.
      if (node.output()->is_output()) constant_value(node.output(), {});
      return;
    }
    ProgramStep step;
    step.node = &node;
    const bool binds = node.is<Bind>();  // the executor's own work: it reads the tensor and sets the symbols
    Lowered lowered = binds ? Lowered{} : choose(node, index, step);
    if (binds) step.kernel = "bind";
    for (size_t i = 0; i < node.inputs().size(); ++i) {
      const Value* input = node.inputs()[i];
      if (input == nullptr) {
        step.inputs.push_back(-1);
      } else if (input->producer() != nullptr && input->producer()->is<Constant>()) {
        step.inputs.push_back(
            constant_value(input, i < lowered.operand_layouts.size() ? lowered.operand_layouts[i] : WeightLayout{}));
      } else {
        step.inputs.push_back(value_index_.at(input));
      }
    }
    for (const Value* output : node.outputs()) step.outputs.push_back(add_value(output));
    if (lowered.step == nullptr && !binds) {
      const int source = step.inputs.at(0);
      program_.values[static_cast<size_t>(step.outputs.at(0))].root = program_.values[static_cast<size_t>(source)].root;
      return;
    }
    step.step = std::move(lowered.step);
    program_.steps.push_back(std::move(step));
  }

  // Kernels move numbers of known rank. Sequences, strings and values whose rank only the run shows are for the
  // fallback.
  static bool needs_fallback(const Node& node) {
    const auto opaque = [](const Value* value) {
      return value != nullptr &&
             (!value->type().is_tensor() || !value->type().ranked || value->dtype() == DType::string);
    };
    return std::any_of(node.inputs().begin(), node.inputs().end(), opaque) ||
           std::any_of(node.outputs().begin(), node.outputs().end(), opaque);
  }

  Lowered choose(const Node& node, size_t index, ProgramStep& step) {
    if (!fallbacks_.empty() && needs_fallback(node))
      return fall_back(node, step, "it handles values other than tensors of known rank");
    std::vector<Candidate> candidates = backend_.candidates(node);
    const auto chosen = choices_.find(index);
    if (chosen != choices_.end()) {
      // A recorded choice that this backend no longer has, or that declines, gives way to the default order.
      std::stable_partition(candidates.begin(), candidates.end(),
                            [&](const Candidate& c) { return c.kernel == chosen->second; });
    }
    std::string declined;
    for (const Candidate& candidate : candidates) {
      if (candidate.declined.empty()) {
        step.kernel = candidate.kernel;
        step.reason = declined;
        return candidate.make();
      }
      declined += (declined.empty() ? "" : "; ") + candidate.kernel + ": " + candidate.declined;
    }
    if (declined.empty()) declined = fmt::format("{} has no kernel for this op", backend_.name());
    return fall_back(node, step, declined);
  }

  Lowered fall_back(const Node& node, ProgramStep& step, const std::string& declined) {
    for (const auto& fallback : fallbacks_) {
      if (fallback->name() != "reference" && needs_fallback(node)) continue;
      for (const Candidate& candidate : fallback->candidates(node)) {
        if (!candidate.declined.empty()) continue;
        step.kernel = candidate.kernel;
        step.fallback = true;
        step.reason = declined;
        Lowered lowered = candidate.make();
        if (backend_.host_memory() || lowered.step == nullptr) return lowered;
        return {std::make_unique<HostStep>(node, std::move(lowered), *fallback), {}};
      }
    }
    throw Error(ErrorCode::unsupported, "no backend can run this node: " + declined)
        .in_node(node.name(), op_name(node.op()));
  }

  const Graph& graph_;
  const Backend& backend_;
  std::span<const std::unique_ptr<Backend>> fallbacks_;
  const KernelChoices& choices_;
  Program program_;
  std::unordered_map<const Value*, int> value_index_;
  std::unordered_map<const Value*, std::vector<int>> constant_forms_;  // one value per layout
};

}  // namespace

Program lower(const Graph& graph, const Backend& backend, std::span<const std::unique_ptr<Backend>> fallbacks,
              const KernelChoices& choices) {
  return Lowering(graph, backend, fallbacks, choices).run();
}

}  // namespace lathe
