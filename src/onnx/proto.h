// An ONNX file decoded into plain structs. Strings and bulk data are views into the file's bytes, which must outlive
// the structs; nothing but bookkeeping is copied. Field numbers are those of the public onnx.proto. Unknown fields are
// skipped, so files of newer IR versions read as far as they use what is known here. Any malformed file gives
// Error(invalid_model); nesting deeper than kMaxNesting is refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/dtype.h"

namespace lathe::onnx {

inline constexpr int kMaxNesting = 64;

// TensorProto. Typed data fields are decoded on demand from `message` (tensor_data.h).
struct TensorProto {
  std::string_view name;
  std::string_view message;  // the whole serialised message
  std::vector<int64_t> dims;
  int32_t data_type = 0;
  std::optional<std::string_view> raw_data;
  bool external = false;
  std::vector<std::pair<std::string_view, std::string_view>> external_data;  // location, offset, length, ..
};

// SparseTensorProto: `values` at the positions `indices` (linear [nnz], or coordinates [nnz, rank]) of a zero tensor.
struct SparseTensorProto {
  TensorProto values;
  TensorProto indices;
  std::vector<int64_t> dims;
};

struct TypeProto {
  enum class Kind : uint8_t { unknown, tensor, sequence, optional, map, sparse_tensor };
  struct Dimension {
    std::optional<int64_t> value;
    std::string_view param;
  };
  Kind kind = Kind::unknown;
  int32_t elem_type = 0;  // of a tensor
  bool has_shape = false;
  std::vector<Dimension> shape;
  int32_t key_type = 0;            // of a map
  std::vector<TypeProto> element;  // of a sequence, optional or map (its values): one entry
};

struct ValueInfo {
  std::string_view name;
  TypeProto type;
};

struct GraphProto;

struct Attribute {
  enum class Kind : int32_t {
    undefined = 0,
    f = 1,
    i = 2,
    s = 3,
    tensor = 4,
    graph = 5,
    floats = 6,
    ints = 7,
    strings = 8,
    tensors = 9,
    graphs = 10,
    sparse_tensor = 11,
    sparse_tensors = 12,
    type = 13,
    types = 14,
  };
  std::string_view name;
  std::string_view ref_name;  // in a function body: stands for this attribute of the call
  Kind kind = Kind::undefined;
  float f = 0;
  int64_t i = 0;
  std::string_view s;
  std::vector<float> floats;
  std::vector<int64_t> ints;
  std::vector<std::string_view> strings;
  std::vector<TensorProto> tensors;  // a single tensor is the one entry; likewise below
  std::vector<SparseTensorProto> sparse_tensors;
  std::vector<GraphProto> graphs;
  std::vector<TypeProto> types;
};

struct NodeProto {
  std::string_view name, op_type, domain, overload;
  std::vector<std::string_view> inputs, outputs;  // an empty name is an absent operand
  std::vector<Attribute> attributes;
};

struct GraphProto {
  std::string_view name;
  std::vector<NodeProto> nodes;
  std::vector<TensorProto> initializers;
  std::vector<std::pair<std::string_view, SparseTensorProto>> sparse_initializers;
  std::vector<ValueInfo> inputs, outputs, value_info;
};

struct OpsetImport {
  std::string_view domain;
  int64_t version = 0;
};

struct FunctionProto {
  std::string_view name, domain, overload;
  std::vector<std::string_view> inputs, outputs;
  std::vector<std::string_view> attributes;  // without default value
  std::vector<Attribute> attribute_defaults;
  std::vector<NodeProto> nodes;
  std::vector<OpsetImport> opsets;
};

struct ModelProto {
  int64_t ir_version = 0;
  std::string_view producer_name, producer_version;
  std::vector<OpsetImport> opsets;
  GraphProto graph;
  std::vector<FunctionProto> functions;
};

ModelProto decode_model(std::string_view bytes);

// The element type that a TensorProto.DataType number stands for; nullopt for UNDEFINED and unknown numbers.
std::optional<DType> dtype_from_onnx(int32_t data_type);
// "" and "ai.onnx" are one domain; this is its printed and compared form.
inline std::string_view normal_domain(std::string_view domain) {
  return domain == "ai.onnx" ? std::string_view() : domain;
}

}  // namespace lathe::onnx
