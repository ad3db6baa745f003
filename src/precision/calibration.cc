#include "precision/calibration.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "passes/passes.h"

namespace lathe::precision {
namespace {

constexpr size_t kValuesAtATime = 16;  // kept as outputs of one graph, so that memory stays bounded

void add(ValueStatistics& statistics, const Output& output) {
  const auto values = output.as<float>();
  statistics.histogram.add(values);
  if (output.dims.empty()) return;
  const auto columns = static_cast<size_t>(output.dims.back());
  std::vector<float>& most = statistics.column_max;
  most.resize(std::max(most.size(), columns));
  for (size_t i = 0; i < values.size(); ++i) most[i % columns] = std::max(most[i % columns], std::abs(values[i]));
}

Value* find_value(const Graph& graph, const std::string& name) {
  for (Value* input : graph.inputs())
    if (input->name() == name) return input;
  for (const auto& node : graph.nodes())
    for (Value* output : node->outputs())
      if (output->name() == name) return output;
  fail(ErrorCode::internal, "the graph has no value '{}'", name);
}

// A copy of the graph whose outputs are these values.
std::unique_ptr<Graph> with_outputs(const Graph& graph, std::span<const std::string> values) {
  std::unique_ptr<Graph> copy = graph.clone();
  while (!copy->outputs().empty()) copy->erase_output(0);
  for (const std::string& name : values) copy->add_output(find_value(*copy, name), name);
  passes::dead_code(*copy);
  return copy;
}

}  // namespace

Statistics collect(const Graph& graph, const RunOptions& options, const Batches& batches,
                   const std::vector<std::string>& values) {
  Statistics statistics;
  for (size_t begin = 0; begin < values.size(); begin += kValuesAtATime) {
    const auto names = std::span(values).subspan(begin, std::min(kValuesAtATime, values.size() - begin));
    Session session(engine_of(with_outputs(graph, names), options));
    for (const Batch& batch : batches)
      for (const Output& output : run(session, batch)) add(statistics[std::string(output.name)], output);
  }
  for (const auto& [name, seen] : statistics)
    if (seen.histogram.empty() || seen.histogram.not_finite() > 0)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("calibration found numbers that are not finite in '{}'", name))
          .remedy("Check the calibration inputs; in f32 the model must give numbers");
  return statistics;
}

std::vector<std::string> quantized_values(const Graph& graph, const std::vector<Layer>& layers,
                                          const PrecisionSupport& support, bool static_activations) {
  const std::vector<Node*> nodes = nodes_of(graph);
  std::set<std::string> names;
  for (const Layer& layer : layers) {
    const Node& node = *nodes[layer.node];
    for (const LayerType& type : layer.ladder)
      if (is_byte_type(type.compute) && has_one_range(node, type.compute, support, static_activations))
        names.insert(node.input(0)->name());
  }
  return {names.begin(), names.end()};
}

}  // namespace lathe::precision
