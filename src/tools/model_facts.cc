#include "tools/model_facts.h"

#include <set>

#include "base/error.h"
#include "base/mapped_file.h"
#include "graph/bindings.h"
#include "graph/token_packing.h"
#include "onnx/proto.h"

namespace lathe::tools {
namespace {

// Concrete sizes of a value; nullopt when a symbol has no value before the run.
std::optional<std::vector<int64_t>> sizes_of(const Value& value, const SymbolBindings& symbols) {
  if (!value.type().is_tensor() || !value.type().ranked) return std::nullopt;
  std::vector<int64_t> dims;
  for (const Dim& dim : value.shape()) {
    const auto size = symbols.try_evaluate(dim);
    if (!size) return std::nullopt;
    dims.push_back(*size);
  }
  return dims;
}

std::optional<Cost> cost_of_node(const Node& node, const SymbolBindings& symbols) {
  std::vector<std::vector<int64_t>> storage;
  storage.reserve(node.inputs().size() + node.outputs().size());  // spans into it must stay valid
  std::vector<SizedType> inputs, outputs;
  for (const auto& [values, types] : {std::pair{node.inputs(), &inputs}, std::pair{node.outputs(), &outputs}}) {
    for (const Value* value : values) {
      if (value == nullptr) {
        types->push_back({DType::f32, {}, false});
        continue;
      }
      auto dims = sizes_of(*value, symbols);
      if (!dims) return std::nullopt;
      storage.push_back(std::move(*dims));
      types->push_back({value->dtype(), storage.back(), true});
    }
  }
  return cost_of(node.op(), inputs, outputs);
}

}  // namespace

OnnxFacts read_onnx_facts(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const onnx::ModelProto model = onnx::decode_model(file->text());
  OnnxFacts facts;
  facts.ir_version = model.ir_version;
  facts.producer =
      fmt::format("{}{}{}", model.producer_name, model.producer_version.empty() ? "" : " ", model.producer_version);
  for (const onnx::OpsetImport& opset : model.opsets)
    facts.opsets.emplace_back(onnx::normal_domain(opset.domain).empty() ? "ai.onnx" : opset.domain, opset.version);
  facts.nodes = model.graph.nodes.size();
  for (const onnx::NodeProto& node : model.graph.nodes) {
    const std::string_view domain = onnx::normal_domain(node.domain);
    ++facts.op_types[fmt::format("{}{}{}", domain, domain.empty() ? "" : "::", node.op_type)];
  }
  return facts;
}

std::vector<WeightFact> list_weights(const Program& program) {
  std::vector<WeightFact> facts;
  for (const Weight& weight : program.weights) {
    const Tensor& tensor = weight.constant();
    WeightFact fact{weight.node->output()->name(), weight.type(), 0,
                    weight.layout.plain() ? "plain" : weight.layout.scheme};
    if (tensor.dtype() != DType::string)
      fact.bytes = static_cast<double>(storage_bytes(tensor.dtype(), tensor.elements()));
    facts.push_back(std::move(fact));
  }
  return facts;
}

WeightTotals total(const std::vector<WeightFact>& weights) {
  WeightTotals totals;
  std::set<std::string> counted;
  for (const WeightFact& weight : weights) {
    if (!counted.insert(weight.name).second) continue;
    int64_t elements = 1;
    for (const Dim& dim : weight.type.shape) elements *= dim.value();
    totals.parameters += elements;
    totals.bytes += weight.bytes;
  }
  return totals;
}

std::string step_name(const Program& program, const ProgramStep& step) {
  if (!step.node->name().empty() || step.outputs.empty()) return step.node->name();
  return program.values[static_cast<size_t>(step.outputs.front())].value->name();
}

CostFacts estimate_costs(const Program& program, const std::map<std::string, int64_t>& values) {
  SymbolBindings symbols;
  for (const auto& [name, value] : values) symbols.bind(name, value);
  CostFacts facts;
  for (const ProgramStep& step : program.steps) {
    bind_all_tokens(*step.node, symbols);
    const auto cost = cost_of_node(*step.node, symbols);
    if (!cost) ++facts.unknown;
    facts.steps.push_back(cost.value_or(Cost{}));
    OpTotal& op = facts.ops[std::string(op_name(step.node->op()))];
    ++op.count;
    op.cost += facts.steps.back();
    facts.total += facts.steps.back();
  }
  return facts;
}

Executor::Footprint footprint_of(Session& session, const Sizes& sizes) {
  std::vector<TensorRef> inputs;
  for (const Value* input : session.engine().impl().model.graph->inputs())
    inputs.push_back({nullptr, input->dtype(), sizes.at(input->name()), true, nullptr});
  return session.impl().executor->footprint(inputs);
}

}  // namespace lathe::tools
