#include "precision/qdq.h"

#include <set>

#include "base/error.h"
#include "base/glob.h"
#include "onnx/importer.h"
#include "onnx/qdq_writer.h"
#include "runtime/engine.h"

namespace lathe::precision {
namespace {

// Values of the graph by name that hold f32 of known rank: what can be calibrated.
std::set<std::string> float_values(const Graph& graph) {
  std::set<std::string> names;
  const auto add = [&](const Value* value) {
    if (value->type().is_tensor() && value->type().ranked && value->dtype() == DType::f32) names.insert(value->name());
  };
  for (const Value* input : graph.inputs()) add(input);
  for (const auto& node : graph.nodes())
    for (const Value* output : node->outputs()) add(output);
  return names;
}

std::vector<onnx::QdqLayer> chosen_layers(const std::filesystem::path& model, const Graph& graph,
                                          const QdqOptions& options) {
  std::vector<onnx::QdqLayer> layers = onnx::qdq_layers(model);
  for (const std::string& pattern : options.keep) {
    const auto kept = [&](const onnx::QdqLayer& layer) { return glob_matches(pattern, layer.name); };
    if (std::erase_if(layers, kept) == 0)
      throw Error(ErrorCode::invalid_argument, fmt::format("no product or convolution matches '{}'", pattern))
          .remedy("'*' stands for anything");
  }
  const std::set<std::string> known = float_values(graph);
  std::erase_if(layers, [&](const onnx::QdqLayer& layer) { return known.count(layer.activation) == 0; });
  if (layers.empty())
    throw Error(ErrorCode::invalid_argument, "there is no product or convolution with constant weights to quantise")
        .in_file(model.string());
  return layers;
}

onnx::QdqOperands operands_of(const onnx::QdqLayer& layer, Range range, ConvertedWeights& weights) {
  const Affine affine = affine_of(range, true);
  const auto& w = weights.quantized(layer.weights, layer.axis, DType::i8);
  const auto scales = w.scales.as<float>();
  return {layer.node,
          static_cast<float>(affine.scale),
          static_cast<uint8_t>(affine.zero),
          w.elements,
          {scales.begin(), scales.end()}};
}

}  // namespace

QdqReport quantize_model(const std::filesystem::path& model, const std::filesystem::path& target,
                         const Batches& batches, const QdqOptions& options) {
  const CompileOptions compile_options;
  const std::unique_ptr<Graph> graph = onnx::import_model(model);
  std::vector<onnx::QdqLayer> layers = chosen_layers(model, *graph, options);
  std::set<std::string> activations;
  for (const onnx::QdqLayer& layer : layers) activations.insert(layer.activation);
  const auto seen = histograms(*graph, {compile_options}, batches, {activations.begin(), activations.end()});

  std::erase_if(layers, [&](const onnx::QdqLayer& layer) { return seen.at(layer.activation).empty(); });

  QdqReport report;
  ConvertedWeights weights;
  std::vector<onnx::QdqOperands> operands;
  for (const onnx::QdqLayer& layer : layers) {
    const Range range = calibrated_range(seen.at(layer.activation), options.calibrator, true);
    operands.push_back(operands_of(layer, range, weights));
    report.layers.push_back(layer.name.empty() ? layer.activation : layer.name);
  }
  onnx::write_qdq(model, target, operands);
  report.outputs = compare(record(open_engine(model, compile_options), batches, {}),
                           open_engine(target, compile_options), batches, {});
  return report;
}

}  // namespace lathe::precision
