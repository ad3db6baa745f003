#include "tests/onnx/model_builder.h"

#include <cctype>
#include <protozero/pbf_writer.hpp>

namespace lathe::onnx {
namespace {

template <class Write>
std::string message(Write&& write) {
  std::string bytes;
  protozero::pbf_writer writer(bytes);
  write(writer);
  return bytes;
}

int data_type_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return 1;
    case DType::u8: return 2;
    case DType::i8: return 3;
    case DType::i32: return 6;
    case DType::i64: return 7;
    case DType::boolean: return 9;
    default: fail(ErrorCode::internal, "tests do not write tensors of this type");
  }
}

}  // namespace

NodeAttribute int_attribute(const std::string& name, int64_t value) {
  return {message([&](auto& w) {
    w.add_string(1, name);
    w.add_int64(3, value);
    w.add_int32(20, 2);
  })};
}

NodeAttribute floats_attribute(const std::string& name, const std::vector<float>& values) {
  return {message([&](auto& w) {
    w.add_string(1, name);
    for (const float v : values) w.add_float(7, v);
    w.add_int32(20, 6);
  })};
}

NodeAttribute ints_attribute(const std::string& name, const std::vector<int64_t>& values) {
  return {message([&](auto& w) {
    w.add_string(1, name);
    for (const int64_t v : values) w.add_int64(8, v);
    w.add_int32(20, 7);
  })};
}

NodeAttribute float_attribute(const std::string& name, float value) {
  return {message([&](auto& w) {
    w.add_string(1, name);
    w.add_float(2, value);
    w.add_int32(20, 1);
  })};
}

NodeAttribute string_attribute(const std::string& name, const std::string& value) {
  return {message([&](auto& w) {
    w.add_string(1, name);
    w.add_string(4, value);
    w.add_int32(20, 3);
  })};
}

NodeAttribute strings_attribute(const std::string& name, const std::vector<std::string>& values) {
  return {message([&](auto& w) {
    w.add_string(1, name);
    for (const std::string& v : values) w.add_string(9, v);
    w.add_int32(20, 8);
  })};
}

NodeAttribute graph_attribute(const std::string& name, const std::string& graph) {
  return {message([&](auto& w) {
    w.add_string(1, name);
    w.add_message(6, graph);
    w.add_int32(20, 5);
  })};
}

NodeAttribute reference_attribute(const std::string& name, const std::string& referred, int kind) {
  return {message([&](auto& w) {
    w.add_string(1, name);
    w.add_string(21, referred);
    w.add_int32(20, kind);
  })};
}

std::string raw_tensor(const std::string& name, const Tensor& value) {
  return message([&](auto& w) {
    for (const int64_t d : value.dims()) w.add_int64(1, d);
    w.add_int32(2, data_type_of(value.dtype()));
    w.add_string(8, name);
    w.add_bytes(9, reinterpret_cast<const char*>(value.bytes().data()), value.bytes().size());
  });
}

std::string node(const std::string& op, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                 const std::vector<NodeAttribute>& attributes, const std::string& domain, const std::string& name) {
  return message([&](auto& w) {
    for (const std::string& i : inputs) w.add_string(1, i);
    for (const std::string& o : outputs) w.add_string(2, o);
    w.add_string(3, name);
    w.add_string(4, op);
    for (const NodeAttribute& a : attributes) w.add_message(5, a.bytes);
    w.add_string(7, domain);
  });
}

std::string map_info(const std::string& name, int key_type, int value_type) {
  const std::string value =
      message([&](auto& w) { w.add_message(1, message([&](auto& t) { t.add_int32(1, value_type); })); });
  const std::string map = message([&](auto& w) {
    w.add_int32(1, key_type);
    w.add_message(2, value);
  });
  return message([&](auto& w) {
    w.add_string(1, name);
    w.add_message(2, message([&](auto& type) { type.add_message(5, map); }));
  });
}

std::string value_info(const std::string& name, int data_type, const std::vector<std::string>& dims) {
  const std::string shape = message([&](auto& w) {
    for (const std::string& d : dims) {
      w.add_message(1, message([&](auto& dim) {
                      if (std::isdigit(static_cast<unsigned char>(d[0])) != 0)
                        dim.add_int64(1, std::stoll(d));
                      else
                        dim.add_string(2, d);
                    }));
    }
  });
  const std::string tensor = message([&](auto& w) {
    w.add_int32(1, data_type);
    w.add_message(2, shape);
  });
  return message([&](auto& w) {
    w.add_string(1, name);
    w.add_message(2, message([&](auto& type) { type.add_message(1, tensor); }));
  });
}

GraphBuilder& GraphBuilder::input(const std::string& name, int data_type, const std::vector<std::string>& dims) {
  protozero::pbf_writer(bytes_).add_message(11, value_info(name, data_type, dims));
  return *this;
}

GraphBuilder& GraphBuilder::map_input(const std::string& name, int key_type, int value_type) {
  protozero::pbf_writer(bytes_).add_message(11, map_info(name, key_type, value_type));
  return *this;
}

GraphBuilder& GraphBuilder::output(const std::string& name) {
  protozero::pbf_writer(bytes_).add_message(12, message([&](auto& w) { w.add_string(1, name); }));
  return *this;
}

GraphBuilder& GraphBuilder::initializer(const std::string& serialised_tensor) {
  protozero::pbf_writer(bytes_).add_message(5, serialised_tensor);
  return *this;
}

GraphBuilder& GraphBuilder::add(const std::string& serialised_node) {
  protozero::pbf_writer(bytes_).add_message(1, serialised_node);
  return *this;
}

std::string model(const GraphBuilder& graph, int64_t opset, const std::vector<std::string>& functions) {
  return message([&](auto& w) {
    w.add_int64(1, 10);
    w.add_message(7, graph.bytes());
    w.add_message(8, message([&](auto& o) { o.add_int64(2, opset); }));
    for (const std::string& f : functions) w.add_message(25, f);
  });
}

std::string function(const std::string& domain, const std::string& name, const std::vector<std::string>& inputs,
                     const std::vector<std::string>& outputs, const std::vector<std::string>& nodes) {
  return message([&](auto& w) {
    w.add_string(1, name);
    for (const std::string& i : inputs) w.add_string(4, i);
    for (const std::string& o : outputs) w.add_string(5, o);
    for (const std::string& n : nodes) w.add_message(7, n);
    w.add_message(9, message([&](auto& o) { o.add_int64(2, 17); }));
    w.add_string(10, domain);
  });
}

std::unique_ptr<Graph> import_bytes(const std::string& bytes) {
  const auto owner = std::make_shared<const std::string>(bytes);
  return import_model(std::as_bytes(std::span(*owner)), owner);
}

}  // namespace lathe::onnx
