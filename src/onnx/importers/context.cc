#include "onnx/importers/context.h"

#include <algorithm>

#include "onnx/constant_fold.h"
#include "onnx/graph_importer.h"

namespace lathe::onnx {

Context::Context(GraphImporter& importer, Scope& scope, const NodeProto& node, int64_t opset,
                 std::vector<Binding*> inputs)
    : Emitter(scope.graph(), std::string(node.name)),
      importer_(importer),
      scope_(scope),
      node_(node),
      opset_(opset),
      inputs_(std::move(inputs)),
      outputs_(node.outputs.size(), nullptr) {}

void Context::unsupported(std::string_view reason, std::string_view remedy) const {
  Error error(ErrorCode::unsupported, std::string(reason));
  if (!remedy.empty()) error.remedy(remedy);
  throw error;
}

void Context::invalid(std::string_view reason) const { throw Error(ErrorCode::invalid_model, std::string(reason)); }

// --- attributes

const Attribute* Context::attr(std::string_view name, Attribute::Kind kind) const {
  const Attribute* found = importer_.attribute(node_, name);
  if (found != nullptr && kind != Attribute::Kind::undefined && found->kind != kind)
    fail(ErrorCode::invalid_model, "attribute '{}' has kind {}, {} expected", name, static_cast<int>(found->kind),
         static_cast<int>(kind));
  return found;
}

int64_t Context::attr_int(std::string_view name, int64_t fallback) const {
  const Attribute* a = attr(name, Attribute::Kind::i);
  return a == nullptr ? fallback : a->i;
}

int64_t Context::required_int(std::string_view name) const {
  const Attribute* a = attr(name, Attribute::Kind::i);
  if (a == nullptr) fail(ErrorCode::invalid_model, "attribute '{}' is missing", name);
  return a->i;
}

double Context::attr_float(std::string_view name, double fallback) const {
  const Attribute* a = attr(name, Attribute::Kind::f);
  return a == nullptr ? fallback : static_cast<double>(a->f);
}

std::string Context::attr_string(std::string_view name, std::string_view fallback) const {
  const Attribute* a = attr(name, Attribute::Kind::s);
  return std::string(a == nullptr ? fallback : a->s);
}

std::vector<int64_t> Context::attr_ints(std::string_view name) const {
  const Attribute* a = attr(name, Attribute::Kind::ints);
  return a == nullptr ? std::vector<int64_t>() : a->ints;
}

std::vector<double> Context::attr_floats(std::string_view name) const {
  const Attribute* a = attr(name, Attribute::Kind::floats);
  return a == nullptr ? std::vector<double>() : std::vector<double>(a->floats.begin(), a->floats.end());
}

std::vector<std::string> Context::attr_strings(std::string_view name) const {
  const Attribute* a = attr(name, Attribute::Kind::strings);
  return a == nullptr ? std::vector<std::string>() : std::vector<std::string>(a->strings.begin(), a->strings.end());
}

Tensor Context::attr_tensor(std::string_view name) const {
  const Attribute* a = attr(name);
  if (a != nullptr && !a->tensors.empty()) return importer_.source().tensor(a->tensors.front());
  if (a != nullptr && !a->sparse_tensors.empty()) return importer_.source().tensor(a->sparse_tensors.front());
  fail(ErrorCode::invalid_model, "attribute '{}' holds no tensor", name);
}

const GraphProto& Context::attr_graph(std::string_view name) const {
  const Attribute* a = attr(name, Attribute::Kind::graph);
  if (a == nullptr || a->graphs.empty()) fail(ErrorCode::invalid_model, "attribute '{}' holds no graph", name);
  return a->graphs.front();
}

DType Context::attr_dtype(std::string_view name, DType fallback) const {
  const Attribute* a = attr(name, Attribute::Kind::i);
  if (a == nullptr) return fallback;
  const auto dtype = dtype_from_onnx(static_cast<int32_t>(a->i));
  if (!dtype) fail(ErrorCode::invalid_model, "attribute '{}' names the unknown element type {}", name, a->i);
  return *dtype;
}

// --- operands as values

Binding& Context::binding(size_t i) const {
  if (!has_input(i)) fail(ErrorCode::invalid_model, "input {} is missing", i);
  return *inputs_[i];
}

Value* Context::input(size_t i) { return scope_.value(binding(i)); }

Value* Context::optional_input(size_t i) { return has_input(i) ? input(i) : nullptr; }

std::vector<Value*> Context::all_inputs() {
  std::vector<Value*> values;
  for (size_t i = 0; i < num_inputs(); ++i) values.push_back(input(i));
  return values;
}

Value* Context::map_keys(size_t i) {
  if (!binding(i).is_map()) fail(ErrorCode::invalid_model, "input {} is not a map", i);
  return scope_.value(*binding(i).keys);
}

Value* Context::map_values(size_t i) {
  if (!binding(i).is_map()) fail(ErrorCode::invalid_model, "input {} is not a map", i);
  return scope_.value(*binding(i).values);
}

const Type& Context::type(size_t i) const { return binding(i).type; }

const Shape& Context::shape(size_t i) const {
  const Type& t = type(i);
  if (!t.is_tensor()) fail(ErrorCode::invalid_model, "input {} is not a tensor but a {}", i, to_string(t));
  if (!t.ranked)
    unsupported(fmt::format("the rank of input {} ('{}') is not known before the model runs", i, inputs_[i]->name));
  return t.shape;
}

// --- operands as facts

const SymbolicTensor* Context::symbolic(size_t i) {
  Binding& b = binding(i);
  if (!b.symbolic && b.constant) b.symbolic = SymbolicTensor::from(*b.constant);
  return b.symbolic ? &*b.symbolic : nullptr;
}

std::optional<Tensor> Context::constant(size_t i) {
  Binding& b = binding(i);
  if (!b.constant && b.symbolic) b.constant = b.symbolic->to_tensor();
  if (!b.constant && !b.symbolic && b.value != nullptr) b.constant = fold_constant(b.value);
  return b.constant;
}

std::optional<std::vector<int64_t>> Context::known_integers(size_t i) {
  const auto tensor = constant(i);
  if (!tensor) return std::nullopt;
  if (!is_integer(tensor->dtype()) && tensor->dtype() != DType::boolean)
    fail(ErrorCode::invalid_model, "input {} must be integers, not {}", i, to_string(tensor->dtype()));
  std::vector<int64_t> values;
  for (int64_t k = 0; k < tensor->elements(); ++k) values.push_back(tensor->read_int(k));
  return values;
}

std::vector<int64_t> Context::integers(size_t i) {
  auto values = known_integers(i);
  if (!values)
    unsupported(fmt::format("input {} ('{}') must be a constant", i, binding(i).name),
                "Fold constants in the exporter, or fix the input that it is computed from");
  return std::move(*values);
}

double Context::constant_number(size_t i, double fallback) {
  if (!has_input(i)) return fallback;
  const auto tensor = constant(i);
  if (!tensor || tensor->elements() != 1)
    unsupported(fmt::format("input {} ('{}') must be a constant with one element", i, binding(i).name));
  return tensor->read_double(0);
}

Shape Context::sizes(size_t i, Sign sign) {
  if (const SymbolicTensor* known = symbolic(i)) {
    if (auto shape = known->to_shape()) return *shape;
    fail(ErrorCode::invalid_model, "input {} ('{}') must be integers", i, binding(i).name);
  }
  Binding& b = binding(i);
  if (const auto folded = known_integers(i)) return Shape(folded->begin(), folded->end());
  const Dim count = product(shape(i));
  if (!count.is_constant())
    unsupported(fmt::format("input {} ('{}') holds sizes, but how many is not known before the model runs", i, b.name));
  if (!is_integer(b.type.dtype)) fail(ErrorCode::invalid_model, "input {} ('{}') must be integers", i, b.name);
  Shape symbols = bind(input(i), count.value(), sign);
  SymbolicTensor known{b.type.dtype, {}, {symbols.begin(), symbols.end()}};
  for (const Dim& size : b.type.shape) known.dims.push_back(size.is_constant() ? size.value() : 1);
  b.symbolic = std::move(known);
  return symbols;
}

int64_t Context::resolve_axis(int64_t value, int64_t rank) const {
  if (value < -rank || value >= rank)
    fail(ErrorCode::invalid_model, "axis {} is out of range for rank {}", value, rank);
  return value < 0 ? value + rank : value;
}

std::vector<int64_t> Context::resolve_axes(std::vector<int64_t> values, int64_t rank) const {
  for (int64_t& value : values) value = resolve_axis(value, rank);
  std::sort(values.begin(), values.end());
  if (std::adjacent_find(values.begin(), values.end()) != values.end()) invalid("an axis is named twice");
  return values;
}

// --- results

void Context::set_output(size_t i, Value* value) {
  if (!wants_output(i)) return;
  for (Binding* in : inputs_) {  // an importer that hands its operand through makes no new value
    if (in != nullptr && in->value == value) {
      scope_.alias(node_.outputs[i], outputs_[i] = in);
      return;
    }
  }
  if (value->producer() != nullptr) graph().rename(value, node_.outputs[i]);
  outputs_[i] = scope_.define(node_.outputs[i], Binding::of(node_.outputs[i], value));
}

void Context::set_output(size_t i, Tensor constant) {
  if (wants_output(i))
    outputs_[i] = scope_.define(node_.outputs[i], Binding::of(node_.outputs[i], std::move(constant)));
}

void Context::set_output(size_t i, SymbolicTensor symbolic) {
  if (wants_output(i))
    outputs_[i] = scope_.define(node_.outputs[i], Binding::of(node_.outputs[i], std::move(symbolic)));
}

void Context::set_output(size_t i, const Binding& result) {
  if (wants_output(i)) outputs_[i] = scope_.define(node_.outputs[i], result);
}

void Context::set_output_map(size_t i, Tensor keys, Value* values) {
  if (!wants_output(i)) return;
  Binding key_part = Binding::of({}, std::move(keys)), value_part = Binding::of({}, values);
  outputs_[i] = scope_.define(node_.outputs[i], Binding::map_of(node_.outputs[i], key_part, value_part));
}

void Context::forward(size_t input, size_t output) {
  if (wants_output(output)) scope_.alias(node_.outputs[output], outputs_[output] = &binding(input));
}

void Context::poison_outputs() {
  for (const std::string_view output : node_.outputs) {
    if (output.empty()) continue;
    Binding b;
    b.name = output;
    b.poisoned = true;
    scope_.define(output, std::move(b));
  }
}

}  // namespace lathe::onnx
