// One decode function per message of onnx.proto, each a switch over its field numbers.
#include "onnx/proto.h"

#include "onnx/wire.h"

namespace lathe::onnx {
namespace {

void check_nesting(int depth) {
  if (depth > kMaxNesting)
    fail(ErrorCode::invalid_model, "graphs or types are nested deeper than {} levels", kMaxNesting);
}

std::pair<std::string_view, std::string_view> decode_entry(std::string_view message) {
  std::pair<std::string_view, std::string_view> entry;
  Fields fields(message);
  fields.each([&](uint32_t tag) {
    switch (tag) {
      case 1: entry.first = fields.bytes(); break;
      case 2: entry.second = fields.bytes(); break;
      default: fields.skip();
    }
  });
  return entry;
}

TensorProto decode_tensor(std::string_view message) {
  TensorProto tensor;
  tensor.message = message;
  Fields fields(message);
  fields.each([&](uint32_t tag) {
    switch (tag) {
      case 1: fields.append_integers(tensor.dims); break;
      case 2: tensor.data_type = fields.int32(); break;
      case 8: tensor.name = fields.bytes(); break;
      case 9: tensor.raw_data = fields.bytes(); break;
      case 13: tensor.external_data.push_back(decode_entry(fields.bytes())); break;
      case 14: tensor.external = fields.integer() == 1; break;
      default: fields.skip();
    }
  });
  return tensor;
}

SparseTensorProto decode_sparse_tensor(std::string_view message) {
  SparseTensorProto sparse;
  Fields fields(message);
  fields.each([&](uint32_t tag) {
    switch (tag) {
      case 1: sparse.values = decode_tensor(fields.bytes()); break;
      case 2: sparse.indices = decode_tensor(fields.bytes()); break;
      case 3: fields.append_integers(sparse.dims); break;
      default: fields.skip();
    }
  });
  return sparse;
}

TypeProto::Dimension decode_dimension(std::string_view message) {
  TypeProto::Dimension dimension;
  Fields fields(message);
  fields.each([&](uint32_t tag) {
    switch (tag) {
      case 1: dimension.value = fields.integer(); break;
      case 2: dimension.param = fields.bytes(); break;
      default: fields.skip();
    }
  });
  return dimension;
}

void decode_tensor_type(std::string_view message, TypeProto& type) {
  Fields fields(message);
  fields.each([&](uint32_t tag) {
    switch (tag) {
      case 1: type.elem_type = fields.int32(); break;
      case 2: {
        type.has_shape = true;
        Fields shape(fields.bytes());
        shape.each([&](uint32_t shape_tag) {
          if (shape_tag == 1)
            type.shape.push_back(decode_dimension(shape.bytes()));
          else
            shape.skip();
        });
        break;
      }
      default: fields.skip();
    }
  });
}

TypeProto decode_type(std::string_view message, int depth) {
  check_nesting(depth);
  TypeProto type;
  Fields fields(message);
  const auto container = [&](TypeProto::Kind kind, uint32_t element) {
    type.kind = kind;
    Fields inner(fields.bytes());
    inner.each([&](uint32_t tag) {
      if (tag == element)
        type.element.push_back(decode_type(inner.bytes(), depth + 1));
      else if (kind == TypeProto::Kind::map && tag == 1)
        type.key_type = inner.int32();
      else
        inner.skip();
    });
  };
  fields.each([&](uint32_t tag) {
    switch (tag) {
      case 1:
        type.kind = TypeProto::Kind::tensor;
        decode_tensor_type(fields.bytes(), type);
        break;
      case 4: container(TypeProto::Kind::sequence, 1); break;
      case 5: container(TypeProto::Kind::map, 2); break;
      case 8:
        type.kind = TypeProto::Kind::sparse_tensor;
        fields.skip();
        break;
      case 9: container(TypeProto::Kind::optional, 1); break;
      default: fields.skip();
    }
  });
  return type;
}

ValueInfo decode_value_info(std::string_view message) {
  ValueInfo info;
  Fields fields(message);
  fields.each([&](uint32_t tag) {
    switch (tag) {
      case 1: info.name = fields.bytes(); break;
      case 2: info.type = decode_type(fields.bytes(), 0); break;
      default: fields.skip();
    }
  });
  return info;
}

GraphProto decode_graph(std::string_view message, int depth);

// Files of IR version 1 leave the type field out: then the field that is present tells the kind.
Attribute::Kind kind_of_field(uint32_t tag) {
  using Kind = Attribute::Kind;
  switch (tag) {
    case 2: return Kind::f;
    case 3: return Kind::i;
    case 4: return Kind::s;
    case 5: return Kind::tensor;
    case 6: return Kind::graph;
    case 7: return Kind::floats;
    case 8: return Kind::ints;
    case 9: return Kind::strings;
    case 10: return Kind::tensors;
    case 11: return Kind::graphs;
    case 14: return Kind::type;
    case 15: return Kind::types;
    case 22: return Kind::sparse_tensor;
    case 23: return Kind::sparse_tensors;
    default: return Kind::undefined;
  }
}

Attribute decode_attribute(std::string_view message, int depth) {
  Attribute a;
  Fields fields(message);
  fields.each([&](uint32_t tag) {
    if (a.kind == Attribute::Kind::undefined) a.kind = kind_of_field(tag);
    switch (tag) {
      case 1: a.name = fields.bytes(); break;
      case 2: a.f = fields.float32(); break;
      case 3: a.i = fields.integer(); break;
      case 4: a.s = fields.bytes(); break;
      case 5:
      case 10: a.tensors.push_back(decode_tensor(fields.bytes())); break;
      case 6:
      case 11: a.graphs.push_back(decode_graph(fields.bytes(), depth + 1)); break;
      case 7: fields.append_fixed(a.floats); break;
      case 8: fields.append_integers(a.ints); break;
      case 9: a.strings.push_back(fields.bytes()); break;
      case 14:
      case 15: a.types.push_back(decode_type(fields.bytes(), 0)); break;
      case 20: a.kind = static_cast<Attribute::Kind>(fields.int32()); break;
      case 21: a.ref_name = fields.bytes(); break;
      case 22:
      case 23: a.sparse_tensors.push_back(decode_sparse_tensor(fields.bytes())); break;
      default: fields.skip();
    }
  });
  return a;
}

NodeProto decode_node(std::string_view message, int depth) {
  NodeProto node;
  Fields fields(message);
  fields.each([&](uint32_t tag) {
    switch (tag) {
      case 1: node.inputs.push_back(fields.bytes()); break;
      case 2: node.outputs.push_back(fields.bytes()); break;
      case 3: node.name = fields.bytes(); break;
      case 4: node.op_type = fields.bytes(); break;
      case 5: node.attributes.push_back(decode_attribute(fields.bytes(), depth)); break;
      case 7: node.domain = normal_domain(fields.bytes()); break;
      case 8: node.overload = fields.bytes(); break;
      default: fields.skip();
    }
  });
  return node;
}

GraphProto decode_graph(std::string_view message, int depth) {
  check_nesting(depth);
  GraphProto graph;
  Fields fields(message);
  fields.each([&](uint32_t tag) {
    switch (tag) {
      case 1: graph.nodes.push_back(decode_node(fields.bytes(), depth)); break;
      case 2: graph.name = fields.bytes(); break;
      case 5: graph.initializers.push_back(decode_tensor(fields.bytes())); break;
      case 11: graph.inputs.push_back(decode_value_info(fields.bytes())); break;
      case 12: graph.outputs.push_back(decode_value_info(fields.bytes())); break;
      case 13: graph.value_info.push_back(decode_value_info(fields.bytes())); break;
      case 15: {
        SparseTensorProto sparse = decode_sparse_tensor(fields.bytes());
        graph.sparse_initializers.emplace_back(sparse.values.name, std::move(sparse));
        break;
      }
      default: fields.skip();
    }
  });
  return graph;
}

OpsetImport decode_opset(std::string_view message) {
  OpsetImport opset;
  Fields fields(message);
  fields.each([&](uint32_t tag) {
    switch (tag) {
      case 1: opset.domain = normal_domain(fields.bytes()); break;
      case 2: opset.version = fields.integer(); break;
      default: fields.skip();
    }
  });
  return opset;
}

FunctionProto decode_function(std::string_view message) {
  FunctionProto function;
  Fields fields(message);
  fields.each([&](uint32_t tag) {
    switch (tag) {
      case 1: function.name = fields.bytes(); break;
      case 4: function.inputs.push_back(fields.bytes()); break;
      case 5: function.outputs.push_back(fields.bytes()); break;
      case 6: function.attributes.push_back(fields.bytes()); break;
      case 7: function.nodes.push_back(decode_node(fields.bytes(), 0)); break;
      case 9: function.opsets.push_back(decode_opset(fields.bytes())); break;
      case 10: function.domain = normal_domain(fields.bytes()); break;
      case 11: function.attribute_defaults.push_back(decode_attribute(fields.bytes(), 0)); break;
      case 13: function.overload = fields.bytes(); break;
      default: fields.skip();
    }
  });
  return function;
}

}  // namespace

ModelProto decode_model(std::string_view bytes) {
  ModelProto model;
  bool has_graph = false;
  Fields fields(bytes);
  fields.each([&](uint32_t tag) {
    switch (tag) {
      case 1: model.ir_version = fields.integer(); break;
      case 2: model.producer_name = fields.bytes(); break;
      case 3: model.producer_version = fields.bytes(); break;
      case 7:
        has_graph = true;
        model.graph = decode_graph(fields.bytes(), 0);
        break;
      case 8: model.opsets.push_back(decode_opset(fields.bytes())); break;
      case 25: model.functions.push_back(decode_function(fields.bytes())); break;
      default: fields.skip();
    }
  });
  if (!has_graph) fail(ErrorCode::invalid_model, "this is not an ONNX model: it holds no graph");
  return model;
}

std::optional<DType> dtype_from_onnx(int32_t data_type) {
  switch (data_type) {
    case 1: return DType::f32;
    case 2: return DType::u8;
    case 3: return DType::i8;
    case 4: return DType::u16;
    case 5: return DType::i16;
    case 6: return DType::i32;
    case 7: return DType::i64;
    case 8: return DType::string;
    case 9: return DType::boolean;
    case 10: return DType::f16;
    case 11: return DType::f64;
    case 12: return DType::u32;
    case 13: return DType::u64;
    case 14: return DType::c64;
    case 15: return DType::c128;
    case 16: return DType::bf16;
    case 17: return DType::f8e4m3;
    case 18: return DType::f8e4m3fnuz;
    case 19: return DType::f8e5m2;
    case 20: return DType::f8e5m2fnuz;
    case 21: return DType::u4;
    case 22: return DType::i4;
    case 23: return DType::f4e2m1;
    case 24: return DType::f8e8m0;
    case 25: return DType::u2;
    case 26: return DType::i2;
    default: return std::nullopt;
  }
}

}  // namespace lathe::onnx
