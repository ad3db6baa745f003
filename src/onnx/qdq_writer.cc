#include "onnx/qdq_writer.h"

#include <algorithm>
#include <limits>
#include <map>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>
#include <set>

#include "base/error.h"
#include "base/file_writer.h"
#include "onnx/proto.h"
#include "onnx/tensor_data.h"

namespace lathe::onnx {
namespace {

constexpr int64_t kLeastOpset = 13;
constexpr int kFloat = 1, kUint8 = 2, kInt8 = 3;  // TensorProto.DataType

// Field numbers of onnx.proto.
namespace field {
constexpr protozero::pbf_tag_type kModelGraph = 7;
constexpr protozero::pbf_tag_type kGraphNode = 1, kGraphInitializer = 5;
constexpr protozero::pbf_tag_type kNodeInput = 1, kNodeOutput = 2, kNodeName = 3, kNodeOp = 4, kNodeAttribute = 5;
constexpr protozero::pbf_tag_type kAttributeName = 1, kAttributeInt = 3, kAttributeType = 20;
constexpr protozero::pbf_tag_type kTensorDims = 1, kTensorType = 2, kTensorName = 8, kTensorRaw = 9;
}  // namespace field

struct File {
  explicit File(const std::filesystem::path& path)
      : mapped(MappedFile::open(path)),
        source(mapped->bytes(), mapped, path.parent_path()),
        model(decode_model(source.bytes())) {}

  std::shared_ptr<const MappedFile> mapped;
  ModelSource source;
  ModelProto model;
};

int64_t int_attribute(const NodeProto& node, std::string_view name, int64_t otherwise) {
  const auto found = std::find_if(node.attributes.begin(), node.attributes.end(),
                                  [&](const Attribute& attribute) { return attribute.name == name; });
  return found != node.attributes.end() ? found->i : otherwise;
}

// Constants of the main graph by name: initializers, and casts of them.
class Constants {
 public:
  explicit Constants(File& file) : file_(file) {
    for (const TensorProto& tensor : file.model.graph.initializers) initializers_[tensor.name] = &tensor;
    for (const NodeProto& node : file.model.graph.nodes)
      if (node.op_type == "Cast" && normal_domain(node.domain).empty() && node.inputs.size() == 1 &&
          int_attribute(node, "to", 0) == kFloat && initializers_.count(node.inputs[0]) > 0)
        casts_[node.outputs.at(0)] = node.inputs[0];
  }

  // The initializer behind a name; null when it is no constant.
  const TensorProto* initializer(std::string_view name) const {
    const auto cast = casts_.find(name);
    const auto found = initializers_.find(cast != casts_.end() ? cast->second : name);
    return found != initializers_.end() ? found->second : nullptr;
  }
  bool is_cast(std::string_view name) const { return casts_.count(name) > 0; }

  // As f32; throws Error(invalid_model) when the data is damaged.
  Tensor floats(const TensorProto& proto) {
    Tensor tensor = file_.source.tensor(proto);
    if (tensor.dtype() == DType::f32) return tensor;
    Tensor wide(DType::f32, tensor.dims());
    for (int64_t i = 0; i < tensor.elements(); ++i) wide.write_double(i, tensor.read_double(i));
    return wide;
  }

 private:
  File& file_;
  std::map<std::string_view, const TensorProto*> initializers_;
  std::map<std::string_view, std::string_view> casts_;  // result to operand
};

bool is_layer(const NodeProto& node) {
  return normal_domain(node.domain).empty() &&
         (node.op_type == "Conv" || node.op_type == "Gemm" || node.op_type == "MatMul") && node.inputs.size() >= 2;
}

size_t channel_axis(const NodeProto& node) {
  if (node.op_type == "Conv") return 0;
  return node.op_type == "Gemm" && int_attribute(node, "transB", 0) != 0 ? 0 : 1;
}

// ---- writing ----

void write_tensor(protozero::pbf_writer& graph, const std::string& name, std::span<const int64_t> dims, int type,
                  std::span<const std::byte> bytes) {
  protozero::pbf_writer tensor(graph, field::kGraphInitializer);
  for (const int64_t size : dims) tensor.add_int64(field::kTensorDims, size);
  tensor.add_int32(field::kTensorType, type);
  tensor.add_string(field::kTensorName, name);
  tensor.add_bytes(field::kTensorRaw, reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void write_node(protozero::pbf_writer& graph, std::string_view op, const std::vector<std::string>& inputs,
                const std::string& output, std::optional<int64_t> axis = {}) {
  protozero::pbf_writer node(graph, field::kGraphNode);
  for (const std::string& input : inputs) node.add_string(field::kNodeInput, input);
  node.add_string(field::kNodeOutput, output);
  node.add_string(field::kNodeName, output);
  node.add_string(field::kNodeOp, op.data(), op.size());
  if (!axis) return;
  constexpr int kAttributeKindInt = 2;
  protozero::pbf_writer attribute(node, field::kNodeAttribute);
  attribute.add_string(field::kAttributeName, "axis");
  attribute.add_int64(field::kAttributeInt, *axis);
  attribute.add_int32(field::kAttributeType, kAttributeKindInt);
}

// Copies a field as it is.
void copy_field(protozero::pbf_reader& from, protozero::pbf_writer& to) {
  switch (from.wire_type()) {
    case protozero::pbf_wire_type::varint: to.add_uint64(from.tag(), from.get_uint64()); return;
    case protozero::pbf_wire_type::fixed64: to.add_fixed64(from.tag(), from.get_fixed64()); return;
    case protozero::pbf_wire_type::fixed32: to.add_fixed32(from.tag(), from.get_fixed32()); return;
    case protozero::pbf_wire_type::length_delimited: {
      const protozero::pbf_tag_type tag = from.tag();
      to.add_bytes(tag, from.get_view());
      return;
    }
    default: fail(ErrorCode::invalid_model, "the file is damaged: unknown wire type");
  }
}

// How often a name is read, subgraphs included; graph outputs count.
void count_uses(const GraphProto& graph, std::map<std::string_view, int>& uses) {
  for (const ValueInfo& output : graph.outputs) ++uses[output.name];
  for (const NodeProto& node : graph.nodes) {
    for (const std::string_view input : node.inputs) ++uses[input];
    for (const Attribute& attribute : node.attributes)
      for (const GraphProto& inner : attribute.graphs) count_uses(inner, uses);
  }
}

class Writer {
 public:
  Writer(File& file, std::span<const QdqOperands> layers) : graph_(file.model.graph), constants_(file) {
    for (const QdqOperands& layer : layers) layers_[layer.node] = &layer;
    count_uses(graph_, uses_);
    for (const auto& [place, layer] : layers_) release(graph_.nodes.at(place).inputs.at(1));
  }

  std::string run(std::string_view model) {
    std::string result;
    protozero::pbf_writer out(result);
    protozero::pbf_reader in(model.data(), model.size());
    while (in.next()) {
      if (in.tag() != field::kModelGraph || in.wire_type() != protozero::pbf_wire_type::length_delimited) {
        copy_field(in, out);
        continue;
      }
      protozero::pbf_writer graph(out, field::kModelGraph);
      write_graph(in.get_message(), graph);
    }
    return result;
  }

 private:
  // The weights of a layer are no longer read by it; what nobody reads is left out.
  void release(std::string_view weights) {
    if (--uses_[weights] > 0) return;
    dead_.insert(weights);
    if (!constants_.is_cast(weights)) return;
    const std::string_view source = constants_.initializer(weights)->name;
    if (--uses_[source] == 0) dead_.insert(source);
  }

  void write_graph(protozero::pbf_reader in, protozero::pbf_writer& out) {
    size_t place = 0, initializer = 0;
    while (in.next()) {
      if (in.tag() == field::kGraphNode) {
        write_layer(place, in.get_view(), out);
        ++place;
      } else if (in.tag() == field::kGraphInitializer) {
        const std::string_view name = graph_.initializers[initializer++].name;
        if (dead_.count(name) > 0)
          in.skip();
        else
          copy_field(in, out);
      } else {
        copy_field(in, out);
      }
    }
  }

  void write_layer(size_t place, protozero::data_view message, protozero::pbf_writer& out) {
    const NodeProto& node = graph_.nodes[place];
    if (node.outputs.size() == 1 && dead_.count(node.outputs[0]) > 0) return;  // the cast of quantised weights
    const auto layer = layers_.find(place);
    if (layer == layers_.end()) return out.add_bytes(field::kGraphNode, message);
    const std::string activation = write_activation(*layer->second, std::string(node.inputs[0]), out);
    const std::string weights = write_weights(*layer->second, node, out);
    protozero::pbf_writer copy(out, field::kGraphNode);
    protozero::pbf_reader in(message);
    size_t input = 0;
    while (in.next()) {
      if (in.tag() != field::kNodeInput || input >= 2) {
        input += in.tag() == field::kNodeInput ? 1 : 0;
        copy_field(in, copy);
        continue;
      }
      in.skip();
      copy.add_string(field::kNodeInput, input == 0 ? activation : weights);
      ++input;
    }
  }

  // Once for a value, however many layers read it.
  std::string write_activation(const QdqOperands& layer, const std::string& value, protozero::pbf_writer& out) {
    const std::string scale = value + "_scale", zero = value + "_zero_point";
    std::string result = value + "_dequantized";
    if (!activations_.insert(value).second) return result;
    write_tensor(out, scale, {}, kFloat, std::as_bytes(std::span(&layer.scale, 1)));
    write_tensor(out, zero, {}, kUint8, std::as_bytes(std::span(&layer.zero_point, 1)));
    write_node(out, "QuantizeLinear", {value, scale, zero}, value + "_quantized");
    write_node(out, "DequantizeLinear", {value + "_quantized", scale, zero}, result);
    return result;
  }

  std::string write_weights(const QdqOperands& layer, const NodeProto& node, protozero::pbf_writer& out) {
    const size_t axis = channel_axis(node);
    const std::string weights = std::string(node.inputs[1]) + (axis == 0 ? "_by_row" : "");
    const std::string bytes = weights + "_quantized", scale = weights + "_scale", zero = weights + "_zero_point";
    std::string result = weights + "_dequantized";
    if (!weights_.insert(weights).second) return result;
    const auto channels = static_cast<int64_t>(layer.w_scales.size());
    const std::vector<int8_t> zeros(layer.w_scales.size());
    write_tensor(out, bytes, layer.weights.dims(), kInt8, layer.weights.bytes());
    write_tensor(out, scale, {&channels, 1}, kFloat, std::as_bytes(std::span(layer.w_scales)));
    write_tensor(out, zero, {&channels, 1}, kInt8, std::as_bytes(std::span(zeros)));
    write_node(out, "DequantizeLinear", {bytes, scale, zero}, result, static_cast<int64_t>(axis));
    return result;
  }

  const GraphProto& graph_;
  Constants constants_;
  std::map<size_t, const QdqOperands*> layers_;
  std::map<std::string_view, int> uses_;
  std::set<std::string_view> dead_;              // weights, and casts of weights, that nobody reads any more
  std::set<std::string> activations_, weights_;  // written already
};

void check_model(const File& file, const std::filesystem::path& model, const std::filesystem::path& target) {
  for (const OpsetImport& opset : file.model.opsets)
    if (normal_domain(opset.domain).empty() && opset.version < kLeastOpset)
      throw Error(ErrorCode::unsupported, fmt::format("the model is of opset {}", opset.version))
          .in_file(model.string())
          .remedy("Scales by channel need opset 13: export it again");
  const bool external = std::any_of(file.model.graph.initializers.begin(), file.model.graph.initializers.end(),
                                    [](const TensorProto& tensor) { return tensor.external; });
  std::error_code error;
  if (external && !std::filesystem::equivalent(std::filesystem::absolute(model).parent_path(),
                                               std::filesystem::absolute(target).parent_path(), error))
    throw Error(ErrorCode::unsupported, "the model keeps weights in files of its own, beside it")
        .in_file(model.string())
        .remedy("Write the result into the same folder");
}

}  // namespace

std::vector<QdqLayer> qdq_layers(const std::filesystem::path& model) {
  File file(model);
  Constants constants(file);
  std::vector<QdqLayer> layers;
  for (size_t place = 0; place < file.model.graph.nodes.size(); ++place) {
    const NodeProto& node = file.model.graph.nodes[place];
    if (!is_layer(node) || constants.initializer(node.inputs[0]) != nullptr) continue;
    if (node.op_type == "Gemm" && int_attribute(node, "transA", 0) != 0) continue;
    const TensorProto* weights = constants.initializer(node.inputs[1]);
    if (weights == nullptr || (node.op_type != "Conv" && weights->dims.size() != 2)) continue;
    const auto type = dtype_from_onnx(weights->data_type);
    if (type != DType::f32 && !constants.is_cast(node.inputs[1])) continue;
    layers.push_back({place, std::string(node.name), std::string(node.op_type), std::string(node.inputs[0]),
                      constants.floats(*weights), channel_axis(node)});
  }
  return layers;
}

void write_qdq(const std::filesystem::path& model, const std::filesystem::path& target,
               std::span<const QdqOperands> layers) {
  File file(model);
  check_model(file, model, target);
  const std::string bytes = Writer(file, layers).run(file.source.bytes());
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
    fail(ErrorCode::unsupported, "the quantised model takes {} bytes, more than a protobuf file may", bytes.size());
  FileWriter out(target);
  out.write(bytes);
  out.commit();
}

}  // namespace lathe::onnx
