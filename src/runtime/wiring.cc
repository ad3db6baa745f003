#include "runtime/wiring.h"

#include <algorithm>

#include "graph/symbols.h"

namespace lathe {
namespace {

using Names = std::vector<std::string>;

Names bare_symbols(const Type& type) {
  Names names;
  for (const Dim& dim : type.shape) names.push_back(dim.is_symbol() ? dim.to_string() : std::string());
  return names;
}

Names find_outer_symbols(const Graph& graph) {
  Names mentioned, bound;
  for (const Value* input : graph.inputs()) {
    collect_symbols(input->type(), mentioned);
    for (std::string& name : bare_symbols(input->type())) bound.push_back(std::move(name));
  }
  for (const auto& node : graph.nodes()) {
    collect_symbols(node->op(), mentioned);
    for (const Value* output : node->outputs()) collect_symbols(output->type(), mentioned);
    for (std::string& name : symbols_bound_by(*node)) bound.push_back(std::move(name));
  }
  std::erase_if(mentioned,
                [&](const std::string& name) { return std::find(bound.begin(), bound.end(), name) != bound.end(); });
  return mentioned;
}

std::vector<CountedSize> find_counted(const Program& program) {
  std::vector<CountedSize> counted;
  for (const ProgramStep& step : program.steps) {
    const PackTokens* op = step.node->as<PackTokens>();
    if (op == nullptr) continue;
    const auto input = std::find(program.inputs.begin(), program.inputs.end(), step.inputs.at(0));
    const Value* mask = step.node->input(0);
    const Dim& size = step.node->output()->shape()[0];
    if (input != program.inputs.end() && mask->type().ranked && size.is_symbol())
      counted.push_back({static_cast<size_t>(input - program.inputs.begin()), op, size.to_string()});
  }
  return counted;
}

}  // namespace

Wiring::Wiring(const Graph& its_graph, const Program& its_program)
    : graph(its_graph),
      program(its_program),
      input_of_root(program.values.size(), -1),
      output_of_root(program.values.size(), -1),
      counted(find_counted(program)),
      outer_symbols(find_outer_symbols(graph)) {
  for (size_t i = 0; i < program.inputs.size(); ++i)
    input_of_root[static_cast<size_t>(program.inputs[i])] = static_cast<int>(i);
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    const auto root = static_cast<size_t>(program.values[static_cast<size_t>(program.outputs[i])].root);
    const bool own_memory = input_of_root[root] < 0 && program.values[root].weight < 0;
    if (own_memory && output_of_root[root] < 0) output_of_root[root] = static_cast<int>(i);
  }
  for (const ProgramStep& step : program.steps) collect_symbols(step.node->op(), mentioned.emplace_back());
  for (const ProgramValue& value : program.values) axis_symbols.push_back(bare_symbols(value.value->type()));
}

}  // namespace lathe
