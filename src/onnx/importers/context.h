// What an op's importer sees: one node with its attributes, its operands, and what is known about them; and, inherited
// from Emitter, the vocabulary to build its lowering. An importer
//   1. reads attributes:            ctx.attr_int("axis", -1)
//   2. takes operands as values:    Value* x = ctx.input(0)          (emitted now if it was only knowledge so far)
//      or as compile-time facts:    ctx.integers(1), ctx.constant(2), ctx.sizes(1)
//   3. emits nodes:                 ctx.unary(MapOp::exp, x)
//   4. binds every output:          ctx.set_output(0, y)
// and throws through unsupported() where it cannot go on: the node is then reported with that reason.
//
// Which accessor for an operand that steers shapes (axes, sizes, starts, k ..)?
//   integers(i)  constants only (axes, pads of a convolution): throws unsupported if they are not known at import;
//   sizes(i)     anything: constants, expressions over symbols, and as a last resort values read at run time (Bind).
// Operand and output indices are those of the ONNX node. docs/adding-an-op.md is the recipe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "onnx/importers/emitter.h"
#include "onnx/proto.h"
#include "onnx/scope.h"

namespace lathe::onnx {

class GraphImporter;

class Context : public Emitter {
 public:
  Context(GraphImporter& importer, Scope& scope, const NodeProto& node, int64_t opset, std::vector<Binding*> inputs);

  // --- the node
  const NodeProto& node() const { return node_; }
  std::string_view op_type() const { return node_.op_type; }
  std::string_view name() const { return node_.name; }
  bool is_standard_domain() const { return node_.domain.empty(); }
  int64_t opset() const { return opset_; }  // version that the model (or function) imports of the op's domain
  size_t num_inputs() const { return inputs_.size(); }
  size_t num_outputs() const { return node_.outputs.size(); }
  bool wants_output(size_t i) const { return i < node_.outputs.size() && !node_.outputs[i].empty(); }

  // --- attributes; one of the wrong kind is Error(invalid_model), an absent one gives the fallback or an empty list
  bool has_attr(std::string_view name) const { return attr(name) != nullptr; }
  int64_t attr_int(std::string_view name, int64_t fallback) const;
  bool attr_bool(std::string_view name, bool fallback) const { return attr_int(name, fallback ? 1 : 0) != 0; }
  double attr_float(std::string_view name, double fallback) const;
  std::string attr_string(std::string_view name, std::string_view fallback) const;
  std::vector<int64_t> attr_ints(std::string_view name) const;
  std::vector<double> attr_floats(std::string_view name) const;
  std::vector<std::string> attr_strings(std::string_view name) const;
  Tensor attr_tensor(std::string_view name) const;  // sparse ones become dense
  const GraphProto& attr_graph(std::string_view name) const;
  DType attr_dtype(std::string_view name, DType fallback) const;  // a TensorProto.DataType number
  int64_t required_int(std::string_view name) const;

  // --- operands as values
  bool has_input(size_t i) const { return i < inputs_.size() && inputs_[i] != nullptr; }
  Value* input(size_t i);           // Error(invalid_model) when absent
  Value* optional_input(size_t i);  // null when absent
  std::vector<Value*> all_inputs();
  // Of a map; any other operand is Error(invalid_model).
  Value* map_keys(size_t i);
  Value* map_values(size_t i);
  const Type& type(size_t i) const;
  DType dtype(size_t i) const { return type(i).dtype; }
  const Shape& shape(size_t i) const;  // unsupported() when the rank is not known
  int64_t rank(size_t i) const { return static_cast<int64_t>(shape(i).size()); }

  // --- operands as facts
  // Elements as expressions, without touching the graph; null when not known.
  const SymbolicTensor* symbolic(size_t i);
  // Elements when all of them are constants; looks through nodes that only depend on small constants.
  std::optional<Tensor> constant(size_t i);
  using Emitter::constant;
  std::vector<int64_t> integers(size_t i);                       // of an operand that must be constant
  std::optional<std::vector<int64_t>> known_integers(size_t i);  // nullopt when it is not
  double constant_number(size_t i, double fallback);     // a one-element operand that must be constant, or absent
  Shape sizes(size_t i, Sign sign = Sign::nonnegative);  // of an operand with a known element count
  // `value` (which may be negative) counted from the end of an axis list of length `rank`; checked.
  int64_t resolve_axis(int64_t value, int64_t rank) const;
  std::vector<int64_t> resolve_axes(std::vector<int64_t> values, int64_t rank) const;  // sorted, no repeats

  // --- results
  void set_output(size_t i, Value* value);
  void set_output(size_t i, Tensor constant);
  void set_output(size_t i, SymbolicTensor symbolic);
  void set_output(size_t i, const Binding& result);  // of an inlined subgraph
  void set_output_map(size_t i, Tensor keys, Value* values);
  void forward(size_t input, size_t output = 0);  // the output is the input
  void poison_outputs();                          // a subgraph holds unsupported nodes, which are reported already

  // --- subgraphs (importers/control.cc)
  GraphImporter& importer() const { return importer_; }
  Scope& scope() const { return scope_; }
  const std::vector<Binding*>& bindings() const { return inputs_; }

  [[noreturn]] void unsupported(std::string_view reason, std::string_view remedy = {}) const;
  [[noreturn]] void invalid(std::string_view reason) const;

 private:
  friend class GraphImporter;
  const Attribute* attr(std::string_view name, Attribute::Kind kind = Attribute::Kind::undefined) const;
  Binding& binding(size_t i) const;

  GraphImporter& importer_;
  Scope& scope_;
  const NodeProto& node_;
  int64_t opset_;
  std::vector<Binding*> inputs_;
  std::vector<Binding*> outputs_;  // null until set
};

}  // namespace lathe::onnx
