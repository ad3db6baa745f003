// Node by node: ask the backend for candidates, take the chosen or first accepted one, and wire its operands.
#include <algorithm>
#include <map>
#include <unordered_map>

#include "base/error.h"
#include "build/constant_id.h"
#include "build/host_step.h"
#include "build/program.h"
#include "build/sized_step.h"
#include "graph/constant.h"

namespace lathe {
namespace {

// What the lowerings of a graph and its regions share.
struct Context {
  const Backend& backend;
  std::span<const std::unique_ptr<Backend>> fallbacks;
  const KernelChoices& choices;
  std::unordered_map<const Node*, size_t> numbers;
  std::vector<Weight> weights;
  std::map<ConstantId, std::vector<int>> forms;  // of a constant: weights that hold it, one per layout
};

int weight_of(Context& context, const Node* constant, const WeightLayout& layout) {
  std::vector<int>& forms = context.forms[constant_id(constant->as<Constant>()->value)];
  for (const int form : forms)
    if (context.weights[static_cast<size_t>(form)].layout == layout) return form;
  const int weight = static_cast<int>(context.weights.size());
  context.weights.push_back({constant, layout});
  forms.push_back(weight);
  return weight;
}

// What the executor runs natively. Slices of strings cannot be stacked on a device, and scanning along other axes than
// the first is what a pass turns into transposes.
bool is_native_control_flow(const Node& node) {
  const auto gives_strings = [&](size_t first) {
    const auto outputs = node.outputs().subspan(std::min(first, node.outputs().size()));
    return std::any_of(outputs.begin(), outputs.end(), [](const Value* v) { return v->dtype() == DType::string; });
  };
  if (const Loop* loop = node.as<Loop>()) return !gives_strings(static_cast<size_t>(loop->num_carried));
  if (const Scan* scan = node.as<Scan>()) {
    const auto first = [](int64_t axis) { return axis == 0; };
    return std::all_of(scan->input_axes.begin(), scan->input_axes.end(), first) &&
           std::all_of(scan->output_axes.begin(), scan->output_axes.end(), first) &&
           !gives_strings(static_cast<size_t>(scan->num_states));
  }
  return node.is<If>();
}

class Lowering {
 public:
  Lowering(const Graph& graph, Context& context) : graph_(graph), context_(context) {}

  Program run() && {
    for (const Value* input : graph_.inputs()) program_.inputs.push_back(add_value(input));
    for (const auto& node : graph_.nodes()) lower_node(*node);
    for (const Value* output : graph_.outputs()) program_.outputs.push_back(value_index_.at(output));
    return std::move(program_);
  }

 private:
  int add_value(const Value* value) {
    const int index = static_cast<int>(program_.values.size());
    program_.values.push_back({value, -1, index});
    value_index_.emplace(value, index);
    return index;
  }

  // The value that stands for constant operand `value` in the given layout.
  int constant_value(const Value* value, const WeightLayout& layout) {
    const int weight = weight_of(context_, value->producer(), layout);
    const auto [known, is_new] = value_of_weight_.try_emplace(weight, static_cast<int>(program_.values.size()));
    if (is_new) program_.values.push_back({value, weight, known->second});
    value_index_.try_emplace(value, known->second);
    return known->second;
  }

  void lower_node(const Node& node) {
    if (node.is<Constant>()) {
      // A weight enters the program when a step or the graph's outputs use it; an output needs it plain.
      if (node.output()->is_output()) constant_value(node.output(), {});
      return;
    }
    ProgramStep step;
    step.node = &node;
    if (is_native_control_flow(node)) {
      lower_regions(node, step);
    } else if (node.is<Bind>()) {
      step.kernel = "bind";  // the executor's own work: it reads the tensor and sets the symbols
      take_operands(node, {}, step);
    } else {
      Lowered lowered = choose(node, step);
      take_operands(node, lowered.operand_layouts, step);
      step.step = std::move(lowered.step);
    }
    for (const Value* output : node.outputs()) step.outputs.push_back(add_value(output));
    const bool alias = step.step == nullptr && step.regions.empty() && !node.is<Bind>();
    if (!alias) {
      program_.steps.push_back(std::move(step));
      return;
    }
    const int source = step.inputs.at(0);
    program_.values[static_cast<size_t>(step.outputs.at(0))].root = program_.values[static_cast<size_t>(source)].root;
  }

  void lower_regions(const Node& node, ProgramStep& step) {
    step.kernel = op_name(node.op());
    for (const Region* region : regions_of(node.op()))
      step.regions.push_back(Lowering(region->graph(), context_).run());
    take_operands(node, {}, step);
  }

  void take_operands(const Node& node, const std::vector<WeightLayout>& layouts, ProgramStep& step) {
    for (size_t i = 0; i < node.inputs().size(); ++i) {
      const Value* input = node.inputs()[i];
      if (input == nullptr)
        step.inputs.push_back(-1);
      else if (is_constant(input))
        step.inputs.push_back(constant_value(input, i < layouts.size() ? layouts[i] : WeightLayout{}));
      else
        step.inputs.push_back(value_index_.at(input));
    }
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

  Lowered choose(const Node& node, ProgramStep& step) {
    if (!context_.fallbacks.empty() && needs_fallback(node))
      return fall_back(node, step, "it handles values other than tensors of known rank");
    const std::vector<Candidate> candidates = context_.backend.candidates(node);
    std::string declined;
    for (const Candidate& candidate : candidates) {
      if (candidate.declined.empty()) {
        step.reason = declined;
        return serve(candidates, usable(node, candidates, candidate), step);
      }
      declined += (declined.empty() ? "" : "; ") + candidate.kernel + ": " + candidate.declined;
    }
    if (declined.empty()) declined = fmt::format("{} has no kernel for this op", context_.backend.name());
    return fall_back(node, step, declined);
  }

  // The recorded kernels that the backend still has and that accept, else the first that accepts.
  KernelChoice usable(const Node& node, std::span<const Candidate> candidates, const Candidate& first) const {
    const auto recorded = context_.choices.find(context_.numbers.at(&node));
    if (recorded == context_.choices.end()) return first.kernel;
    KernelChoice choice;
    for (const KernelRange& range : recorded->second.ranges)
      if (accepting(candidates, range.kernel) != nullptr) choice.ranges.push_back(range);
    if (choice.ranges.empty()) return first.kernel;
    choice.ranges.back().most = kAnySize;
    return choice;
  }

  static const Candidate* accepting(std::span<const Candidate> candidates, const std::string& kernel) {
    for (const Candidate& candidate : candidates)
      if (candidate.kernel == kernel && candidate.declined.empty()) return &candidate;
    return nullptr;
  }

  // Kernels that want weights in another layout than the one for the largest sizes, or that make no step, cannot take
  // turns with it.
  static Lowered serve(std::span<const Candidate> candidates, const KernelChoice& choice, ProgramStep& step) {
    const KernelRange& last = choice.ranges.back();
    Lowered result = accepting(candidates, last.kernel)->make();
    std::vector<SizedStep::Variant> variants;
    for (const KernelRange& range : std::span(choice.ranges).first(choice.ranges.size() - 1)) {
      Lowered smaller = accepting(candidates, range.kernel)->make();
      if (smaller.step == nullptr || result.step == nullptr || smaller.operand_layouts != result.operand_layouts)
        continue;
      variants.push_back({std::move(smaller.step), range.most});
      step.choice.ranges.push_back(range);
    }
    step.choice.ranges.push_back(last);
    step.kernel = to_string(step.choice);
    if (!variants.empty()) {
      variants.push_back({std::move(result.step), kAnySize});
      result.step = std::make_unique<SizedStep>(std::move(variants));
    }
    return result;
  }

  Lowered fall_back(const Node& node, ProgramStep& step, const std::string& declined) {
    for (const auto& fallback : context_.fallbacks) {
      if (needs_fallback(node) && fallback != context_.fallbacks.back()) continue;  // only the last one takes anything
      for (const Candidate& candidate : fallback->candidates(node)) {
        if (!candidate.declined.empty()) continue;
        step.kernel = candidate.kernel;
        step.fallback = true;
        step.reason = declined;
        Lowered lowered = candidate.make();
        if (context_.backend.host_memory() || lowered.step == nullptr) return lowered;
        return {std::make_unique<HostStep>(node, std::move(lowered), *fallback), {}};
      }
    }
    throw Error(ErrorCode::unsupported, "no backend can run this node: " + declined)
        .in_node(node.name(), op_name(node.op()));
  }

  const Graph& graph_;
  Context& context_;
  Program program_;
  std::unordered_map<const Value*, int> value_index_;
  std::unordered_map<int, int> value_of_weight_;
};

void number_nodes(const Graph& graph, std::unordered_map<const Node*, size_t>& numbers) {
  for (const auto& node : graph.nodes()) {
    numbers.emplace(node.get(), numbers.size());
    for (const Region* region : regions_of(node->op())) number_nodes(region->graph(), numbers);
  }
}

}  // namespace

std::unordered_map<const Node*, size_t> number_nodes(const Graph& graph) {
  std::unordered_map<const Node*, size_t> numbers;
  number_nodes(graph, numbers);
  return numbers;
}

Program lower(const Graph& graph, const Backend& backend, std::span<const std::unique_ptr<Backend>> fallbacks,
              const KernelChoices& choices) {
  Context context{backend, fallbacks, choices, number_nodes(graph), {}, {}};
  Program program = Lowering(graph, context).run();
  program.weights = std::move(context.weights);
  backend.finish_lowering();
  return program;
}

}  // namespace lathe
