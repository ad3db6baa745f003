// Runs cases of the ONNX backend test suite on the CPU backend (or the device that is the argument): reads folder names
// from standard input, one per line, and prints one line per folder: "ok NAME" or "FAIL NAME: why". A case is a
// model.onnx and folders test_data_set_N with input_N.pb and output_N.pb, which hold a TensorProto, a SequenceProto or
// an OptionalProto.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

#include "graph/reference/evaluator.h"
#include "onnx/importer.h"
#include "onnx/proto.h"
#include "onnx/tensor_data.h"
#include "runtime/engine.h"
#include "tests/zoo/zoo.h"

namespace lathe {
namespace {

using Kind = onnx::TypeProto::Kind;
using Bytes = std::shared_ptr<const std::string>;

Bytes read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(ErrorCode::not_found, "there is no {}", path.string());
  return std::make_shared<const std::string>(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

std::span<const std::byte> span_of(const std::string& text) { return std::as_bytes(std::span(text)); }

// The decoder reads whole models: the tensor becomes the only initializer of one.
Tensor read_tensor(std::string_view message) {
  constexpr uint32_t kGraphOfModel = 7, kInitializerOfGraph = 5;
  std::string graph, model;
  protozero::pbf_writer(graph).add_message(kInitializerOfGraph, message.data(), message.size());
  protozero::pbf_writer(model).add_message(kGraphOfModel, graph);
  const auto owner = std::make_shared<const std::string>(std::move(model));
  const onnx::ModelProto decoded = onnx::decode_model(*owner);
  return onnx::ModelSource(span_of(*owner), owner, std::nullopt).tensor(decoded.graph.initializers.at(0)).aligned();
}

std::vector<Tensor> read_sequence(std::string_view message) {
  constexpr uint32_t kTensors = 3;
  std::vector<Tensor> tensors;
  for (protozero::pbf_reader reader(message.data(), message.size()); reader.next();) {
    if (reader.tag() != kTensors) {
      reader.skip();
      continue;
    }
    const auto view = reader.get_view();
    tensors.push_back(read_tensor({view.data(), view.size()}));
  }
  return tensors;
}

RefValue read_value(std::string_view message, Kind kind) {
  if (kind == Kind::tensor) return read_tensor(message);
  if (kind == Kind::sequence) return read_sequence(message);
  if (kind != Kind::optional) fail(ErrorCode::unsupported, "values of this kind");
  constexpr uint32_t kTensor = 3, kSequence = 5;
  for (protozero::pbf_reader reader(message.data(), message.size()); reader.next();) {
    const uint32_t tag = reader.tag();
    if (tag != kTensor && tag != kSequence) {
      reader.skip();
      continue;
    }
    const auto view = reader.get_view();
    return read_value({view.data(), view.size()}, tag == kTensor ? Kind::tensor : Kind::sequence);
  }
  return std::monostate();
}

std::vector<RefValue> read_values(const std::filesystem::path& folder, const std::string& what,
                                  const std::vector<onnx::ValueInfo>& infos) {
  std::vector<RefValue> values;
  for (size_t i = 0; i < infos.size(); ++i)
    values.push_back(read_value(*read_file(folder / fmt::format("{}_{}.pb", what, i)), infos[i].type.kind));
  return values;
}

std::string difference(const RefValue& actual, const RefValue& expected) {
  if (actual.index() != expected.index()) return "a value of another kind";
  if (const auto* list = std::get_if<std::vector<Tensor>>(&expected)) {
    const auto& given = std::get<std::vector<Tensor>>(actual);
    if (given.size() != list->size()) return fmt::format("{} elements instead of {}", given.size(), list->size());
    for (size_t i = 0; i < list->size(); ++i)
      if (std::string why = difference(given[i], (*list)[i]); !why.empty()) return why;
    return "";
  }
  const auto* tensor = std::get_if<Tensor>(&expected);
  if (tensor == nullptr) return "";
  if (tensor->dtype() == DType::string) return std::get<Tensor>(actual) == *tensor ? "" : "other strings";
  const bool half = tensor->dtype() == DType::f16 || tensor->dtype() == DType::bf16;
  return zoo::difference(std::get<Tensor>(actual), *tensor, half ? 1e-3 : 1e-5,
                         tensor->dtype() == DType::bf16 ? 1e-2 : 2e-3);
}

Input input_of(const std::string& name, const Tensor& tensor) {
  const bool strings = tensor.dtype() == DType::string;
  return {name, tensor.dtype(), tensor.dims(),
          strings ? static_cast<const void*>(tensor.strings().data()) : tensor.bytes().data()};
}

Input input_of(const std::string& name, const RefValue& value) {
  if (const auto* tensor = std::get_if<Tensor>(&value)) return input_of(name, *tensor);
  const auto* sequence = std::get_if<std::vector<Tensor>>(&value);
  if (sequence == nullptr) return Input::nothing(name);
  std::vector<Input> tensors;
  for (const Tensor& tensor : *sequence) tensors.push_back(input_of(name, tensor));
  return Input::sequence(name, std::move(tensors));
}

Tensor tensor_of(const Output& output) {
  std::vector<int64_t> dims(output.dims.begin(), output.dims.end());
  if (output.dtype == DType::string) {
    const auto strings = output.as<std::string>();
    return Tensor::of_strings(std::move(dims), {strings.begin(), strings.end()});
  }
  Tensor tensor(output.dtype, std::move(dims));
  if (!tensor.bytes().empty()) std::memcpy(tensor.mutable_bytes().data(), output.data, tensor.bytes().size());
  return tensor;
}

RefValue value_of(const Output& output) {
  if (output.kind == ValueKind::nothing) return std::monostate();
  if (output.kind == ValueKind::tensor) return tensor_of(output);
  std::vector<Tensor> sequence;
  for (const Output& tensor : output.tensors) sequence.push_back(tensor_of(tensor));
  return sequence;
}

// The model with all inputs but the first held constant, as exporters leave axes, sizes and the like.
std::string with_constants(const std::string& model, const onnx::GraphProto& graph,
                           const std::filesystem::path& folder) {
  constexpr uint32_t kGraphOfModel = 7, kInitializerOfGraph = 5, kNameOfTensor = 8;
  std::string result;
  protozero::pbf_writer writer(result);
  for (protozero::pbf_reader reader(model); reader.next();) {
    if (reader.tag() != kGraphOfModel) {
      if (reader.has_wire_type(protozero::pbf_wire_type::varint))
        writer.add_uint64(reader.tag(), reader.get_uint64());
      else
        writer.add_message(reader.tag(), reader.get_view());
      continue;
    }
    std::string body(reader.get_view());
    for (size_t i = 1; i < graph.inputs.size(); ++i) {
      std::string tensor = *read_file(folder / fmt::format("input_{}.pb", i));
      protozero::pbf_writer(tensor).add_string(kNameOfTensor, std::string(graph.inputs[i].name));
      protozero::pbf_writer(body).add_message(kInitializerOfGraph, tensor);
    }
    writer.add_message(kGraphOfModel, body);
  }
  return result;
}

std::unique_ptr<Graph> import_case(const Bytes& bytes, const onnx::ModelProto& proto,
                                   const std::filesystem::path& folder) {
  try {
    return onnx::import_model(span_of(*bytes), bytes);
  } catch (const Error& error) {
    if (error.message().find("must be a constant") == std::string::npos) throw;
  }
  const auto constant = std::make_shared<const std::string>(with_constants(*bytes, proto.graph, folder));
  return onnx::import_model(span_of(*constant), constant);
}

void run_data_set(const std::filesystem::path& model_file, const std::filesystem::path& folder,
                  const CompileOptions& options) {
  const Bytes bytes = read_file(model_file);
  const onnx::ModelProto proto = onnx::decode_model(*bytes);
  const std::vector<RefValue> given = read_values(folder, "input", proto.graph.inputs);
  const std::vector<RefValue> expected = read_values(folder, "output", proto.graph.outputs);
  const auto engine = make_engine(compile(import_case(bytes, proto, folder), options));
  Session session(engine, {.threads = 1});
  std::vector<Input> inputs;
  for (const TensorInfo& info : engine->inputs())
    for (size_t i = 0; i < given.size(); ++i)
      if (proto.graph.inputs[i].name == info.name) inputs.push_back(input_of(info.name, given[i]));
  const std::span<const Output> outputs = session.run(inputs);
  if (outputs.size() < expected.size()) fail(ErrorCode::invalid_argument, "{} outputs are missing", expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    if (const std::string why = difference(value_of(outputs[i]), expected[i]); !why.empty())
      fail(ErrorCode::invalid_argument, "output {}: {}", outputs[i].name, why);
}

void run_case(const std::filesystem::path& folder, const CompileOptions& options) {
  int sets = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!entry.is_directory()) continue;
    run_data_set(folder / "model.onnx", entry.path(), options);
    ++sets;
  }
  if (sets == 0) fail(ErrorCode::not_found, "no test data");
}

}  // namespace
}  // namespace lathe

int main(int argc, char** argv) {
  lathe::CompileOptions options;
  if (argc > 1) options.device = argv[1];
  std::string folder;
  while (std::getline(std::cin, folder)) {
    const std::string name = std::filesystem::path(folder).filename().string();
    std::printf("run %s\n", name.c_str());  // names the culprit when the next line does not come
    std::fflush(stdout);
    try {
      lathe::run_case(folder, options);
      std::printf("ok %s\n", name.c_str());
    } catch (const std::exception& error) {
      std::string why = error.what();
      for (char& c : why)
        if (c == '\n') c = ' ';
      std::printf("FAIL %s: %s\n", name.c_str(), why.c_str());
    }
    std::fflush(stdout);
  }
  return 0;
}
