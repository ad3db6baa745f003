// Writes small ONNX models for tests.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "graph/tensor.h"
#include "onnx/importer.h"

namespace lathe::onnx {

struct NodeAttribute {
  std::string bytes;  // a serialised AttributeProto
};
NodeAttribute int_attribute(const std::string& name, int64_t value);
NodeAttribute ints_attribute(const std::string& name, const std::vector<int64_t>& values);
NodeAttribute float_attribute(const std::string& name, float value);
NodeAttribute floats_attribute(const std::string& name, const std::vector<float>& values);
NodeAttribute string_attribute(const std::string& name, const std::string& value);
NodeAttribute strings_attribute(const std::string& name, const std::vector<std::string>& values);
NodeAttribute graph_attribute(const std::string& name, const std::string& graph);
// Inside a function: stands for the call's attribute `referred`.
NodeAttribute reference_attribute(const std::string& name, const std::string& referred, int kind);

std::string raw_tensor(const std::string& name, const Tensor& value);
std::string node(const std::string& op, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                 const std::vector<NodeAttribute>& attributes = {}, const std::string& domain = "",
                 const std::string& name = "");
std::string value_info(const std::string& name, int data_type, const std::vector<std::string>& dims);

// A map of single keys and values, by data types.
std::string map_info(const std::string& name, int key_type, int value_type);

// A GraphProto under construction; dims are numbers or names, data types those of onnx.proto (1 float, 7 int64, 9
// bool).
class GraphBuilder {
 public:
  GraphBuilder& input(const std::string& name, int data_type, const std::vector<std::string>& dims);
  GraphBuilder& map_input(const std::string& name, int key_type, int value_type);
  GraphBuilder& output(const std::string& name);
  GraphBuilder& initializer(const std::string& serialised_tensor);
  GraphBuilder& constant(const std::string& name, const Tensor& value) { return initializer(raw_tensor(name, value)); }
  GraphBuilder& add(const std::string& serialised_node);
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

std::string model(const GraphBuilder& graph, int64_t opset = 17, const std::vector<std::string>& functions = {});
std::string function(const std::string& domain, const std::string& name, const std::vector<std::string>& inputs,
                     const std::vector<std::string>& outputs, const std::vector<std::string>& nodes);

std::unique_ptr<Graph> import_bytes(const std::string& bytes);

}  // namespace lathe::onnx
