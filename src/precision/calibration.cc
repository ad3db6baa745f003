#include "precision/calibration.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/thread_team.h"
#include "graph/build.h"
#include "lathe/lathe.h"
#include "passes/passes.h"
#include "precision/run.h"
#include "runtime/session.h"

namespace lathe::precision {
namespace {

constexpr size_t kValuesAtATime = 16;  // kept as outputs of one graph, so that memory stays bounded

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

[[noreturn]] void not_finite(const std::string& value) {
  throw Error(ErrorCode::invalid_argument, fmt::format("calibration found numbers that are not finite in '{}'", value))
      .remedy("Check the calibration inputs; in f32 the model must give numbers");
}

}  // namespace

std::map<std::string, Histogram> histograms(const Graph& graph, const RunOptions& options, const Batches& batches,
                                            const std::vector<std::string>& values) {
  ThreadTeam team(options.threads > 0 ? options.threads : default_thread_count());
  std::map<std::string, Histogram> histograms;
  for (size_t begin = 0; begin < values.size(); begin += kValuesAtATime) {
    const auto names = std::span(values).subspan(begin, std::min(kValuesAtATime, values.size() - begin));
    std::vector<Histogram> seen(names.size());
    Session session = session_of(engine_of(with_outputs(graph, names), options), options);
    for (const Batch& batch : batches) {
      const auto outputs = run(session, batch);
      team.parallel_for(static_cast<int64_t>(names.size()), [&](int64_t first, int64_t last, int) {
        for (auto i = static_cast<size_t>(first); i < static_cast<size_t>(last); ++i)
          seen[i].add(outputs[i].as<float>());
      });
    }
    for (size_t i = 0; i < names.size(); ++i) histograms.emplace(names[i], std::move(seen[i]));
  }
  for (const auto& [name, histogram] : histograms)
    if (histogram.not_finite() > 0) not_finite(name);
  return histograms;
}

ColumnMaxima column_maxima(const Graph& graph, const RunOptions& options, const Batches& batches,
                           const std::vector<std::string>& values) {
  std::unique_ptr<Graph> copy = with_outputs(graph, values);
  for (size_t i = 0; i < values.size(); ++i) {
    Value* value = copy->outputs()[i];
    std::vector<int64_t> axes(value->shape().size() - 1);
    std::iota(axes.begin(), axes.end(), int64_t{0});
    copy->set_output(i, reduce({*copy}, ReduceKind::max, map1({*copy}, MapOp::abs, value), axes, false));
  }
  ColumnMaxima maxima;
  Session session = session_of(engine_of(std::move(copy), options), options);
  for (const Batch& batch : batches)
    for (const Output& output : run(session, batch)) {
      const auto found = output.as<float>();
      std::vector<float>& most = maxima[std::string(output.name)];
      most.resize(found.size());
      for (size_t i = 0; i < found.size(); ++i) {
        if (!std::isfinite(found[i])) not_finite(std::string(output.name));
        most[i] = std::max(found[i], most[i]);
      }
    }
  return maxima;
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
