#include "precision/apply.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "graph/build.h"
#include "graph/token_packing.h"
#include "passes/map_writer.h"
#include "passes/rewrite.h"

namespace lathe::precision {
namespace {

using passes::MapWriter;

// A value as bytes, and what gives it back: (bytes - zero) * scale. Absent: a zero point of 0.
struct QuantizedValue {
  Value *bytes = nullptr, *scale = nullptr, *zero = nullptr;
};

Value* dequantized(Graph& graph, Node& before, const QuantizedValue& q) {
  MapProgram p;
  int v = p.input(0, q.bytes->dtype());
  const int scale = p.input(1, DType::f32);
  if (q.zero != nullptr)
    v = p.binary(MapOp::sub, p.cast(v, DType::i32), p.cast(p.input(2, q.zero->dtype()), DType::i32));
  p.finish(p.binary(MapOp::mul, p.cast(v, DType::f32), scale));
  std::vector<Value*> operands = {q.bytes, q.scale};
  if (q.zero != nullptr) operands.push_back(q.zero);
  return passes::insert(graph, &before, Map{std::move(p), {}}, std::move(operands));
}

MapProgram* program_of(Op& op) {
  if (auto* m = std::get_if<MatMul>(&op)) return &m->epilogue;
  if (auto* c = std::get_if<Conv>(&op)) return &c->epilogue;
  if (auto* c = std::get_if<ConvTranspose>(&op)) return &c->epilogue;
  if (auto* a = std::get_if<Attention>(&op)) return &a->score;
  return nullptr;
}

// Every element stays finite in 16 bits.
bool fits_half(const Tensor& tensor) {
  for (int64_t i = 0; i < tensor.elements(); ++i)
    if (!(std::abs(tensor.read_double(i)) < 6e4)) return false;
  return true;
}

class Applier {
 public:
  Applier(Graph& graph, const ApplyOptions& options, ConvertedWeights& weights)
      : graph_(graph), options_(options), weights_(weights) {}

  void run(const Assignment& assignment) {
    const std::vector<Node*> nodes = snapshot(graph_);
    LATHE_CHECK(assignment.size() == nodes.size());
    for (size_t i = 0; i < nodes.size(); ++i) visit(*nodes[i], assignment[i]);
    for (size_t i = 0; i < graph_.outputs().size(); ++i) {
      Value* output = graph_.outputs()[i];
      if (narrowed(output)) graph_.set_output(i, cast({graph_}, output, DType::f32));
    }
  }

 private:
  bool narrowed(const Value* value) const { return value != nullptr && narrowed_.count(value) > 0; }
  DType original_type(const Value* value) const { return narrowed(value) ? DType::f32 : value->dtype(); }

  void visit(Node& node, LayerType type) {
    if (node.is<Constant>()) return;
    const bool bytes = is_byte_type(type.compute);
    if (bytes) quantize_operands(node, type.compute);
    const LayerType floats{bytes ? DType::f32 : type.compute, type.result};
    const bool table = node.is<Gather>() && floats.compute != DType::f32;
    if (!table && !moved_operands(node).empty())
      move(node);
    else if (node.is<Map>())
      rewrite_map(node, floats.result);
    else if (is_f32_layer(node))
      compute(node, floats);
    else
      restore(node, 0);
    note_outputs(node);
  }

  bool is_f32_layer(const Node& node) const {
    const auto operands = computed_operands(node);
    return !operands.empty() && node.output()->type().is_tensor() && node.output()->dtype() == DType::f32 &&
           std::all_of(operands.begin(), operands.end(), [&](size_t i) {
             return original_type(node.input(i)) == DType::f32 || is_half_constant(node.input(i));
           });
  }

  // Outputs that have become narrower, by the node's new operand types.
  void note_outputs(Node& node) {
    std::vector<DType> before;
    for (const Value* output : node.outputs())
      before.push_back(output->type().is_tensor() ? output->dtype() : DType::f32);
    const bool changed = std::exchange(changed_, false);
    if (!changed) return;
    graph_.infer_types(&node);
    for (size_t i = 0; i < before.size(); ++i) {
      const Value* output = node.outputs()[i];
      if (before[i] == DType::f32 && bit_width(output->dtype()) == 16) narrowed_.insert(output);
    }
  }

  // ---- converting values ----

  Value* as_type(Node& before, Value* value, DType type) {
    if (value == nullptr || value->dtype() == type) return value;
    Value*& known = converted_[{value, type}];
    if (known != nullptr) return known;
    const Tensor* constant = passes::constant_tensor(value);
    known = constant != nullptr ? passes::insert(graph_, &before, Constant{weights_.as_type(*constant, type)}, {})
                                : passes::insert(graph_, &before, Map{cast_program(value->dtype(), type), {}}, {value});
    return known;
  }

  void set_input(Node& node, size_t i, Value* value) {
    if (node.input(i) == value) return;
    graph_.set_input(&node, i, value);
    changed_ = true;
  }

  // Operands from `first` on as the model has them.
  void restore(Node& node, size_t first) {
    for (size_t i = first; i < node.inputs().size(); ++i)
      if (narrowed(node.input(i))) set_input(node, i, as_type(node, node.input(i), DType::f32));
  }

  // ---- nodes ----

  // Takes the type of what it moves; several operands must agree.
  void move(Node& node) {
    const std::vector<size_t> operands = moved_operands(node);
    const auto narrow =
        std::find_if(operands.begin(), operands.end(), [&](size_t i) { return narrowed(node.input(i)); });
    restore_others(node, operands);
    if (narrow == operands.end()) return;
    const DType type = node.input(*narrow)->dtype();
    for (const size_t i : operands) set_input(node, i, as_type(node, node.input(i), type));
    changed_ = true;
  }

  // As the program knows it.
  int read(MapWriter& writer, Value* value) const {
    const int operand = writer.operand(value);
    return narrowed(value) ? writer.program().cast(operand, DType::f32) : operand;
  }

  void rewrite_map(Node& node, DType result) {
    const Map& map = *node.as<Map>();
    const bool reads_narrow =
        std::any_of(node.inputs().begin(), node.inputs().end(), [&](const Value* input) { return narrowed(input); });
    const bool narrows = node.output()->dtype() == DType::f32 && result != DType::f32;
    if (!reads_narrow && !narrows) return;
    MapWriter writer;
    int value = writer.inlined(map.program, node.inputs(), [&](Value* v) { return read(writer, v); });
    if (narrows) value = writer.program().cast(value, result);
    MapWriter::Result rewritten = writer.finish(value);
    Shape shape;
    for (const Value* operand : rewritten.operands) shape = broadcast(shape, operand->shape());
    Map op{std::move(rewritten.program), map.shape};
    if (!op.shape && !(shape == node.output()->shape())) op.shape = node.output()->shape();
    set(node, std::move(op), std::move(rewritten.operands));
  }

  void set(Node& node, Op op, std::vector<Value*> inputs) {
    node.mutable_op() = std::move(op);
    graph_.set_inputs(&node, std::move(inputs));
    changed_ = true;
  }

  void compute(Node& node, LayerType type) {
    if (node.is<Norm>()) return compute_norm(node, type);
    const std::vector<size_t> operands = computed_operands(node);
    changed_ = true;  // operands may have become narrower on their own
    for (const size_t i : operands) {
      // Where values stay f32, only weights are stored narrower.
      const bool convert = options_.support.narrow_activations || passes::constant_tensor(node.input(i)) != nullptr;
      const DType wanted = convert ? type.compute : DType::f32;
      if (is_half_constant(node.input(i)) ? wanted != DType::f32 : original_type(node.input(i)) == DType::f32)
        set_input(node, i, as_type(node, node.input(i), wanted));
    }
    if (node.is<Embedding>()) return set_parameters(node, type.result);
    Op op = node.op();
    if (program_of(op) == nullptr) return restore_others(node, operands);
    const bool score = node.is<Attention>();
    const size_t first = score ? first_extra(*node.as<Attention>()) : operands.size();
    rewrite_program(node, std::move(op), first, score ? DType::f32 : type.result);
  }

  // The result of an embedding has the type of its scale.
  void set_parameters(Node& node, DType result) {
    const size_t picked = picked_operand(*node.as<Embedding>());
    for (size_t i = picked - 2; i < std::min(node.inputs().size(), picked); ++i)
      set_input(node, i, as_type(node, node.input(i), result));
  }

  // All operands but these as the model has them.
  void restore_others(Node& node, const std::vector<size_t>& operands) {
    for (size_t i = 0; i < node.inputs().size(); ++i)
      if (std::find(operands.begin(), operands.end(), i) == operands.end() && narrowed(node.input(i)))
        set_input(node, i, as_type(node, node.input(i), DType::f32));
  }

  // The program over (product or score, extras from operand `first` on), computed in f32.
  void rewrite_program(Node& node, Op op, size_t first, DType result) {
    MapProgram& program = *program_of(op);
    const DType product = node.is<Attention>() ? node.input(0)->dtype() : joined(node);
    if (program.empty() && (product == result || node.is<Attention>())) return;
    MapWriter writer({product});
    const int leading = writer.program().cast(writer.leading(0), DType::f32);
    const auto extras = node.inputs().subspan(first);
    std::vector<int> instructions = {leading};
    for (Value* extra : extras) instructions.push_back(read_extra(writer, node, extra, result));
    int value = program.empty() ? leading : writer.program().inline_program(program, instructions);
    value = writer.program().cast(value, result);
    MapWriter::Result rewritten = writer.finish(value);
    program = std::move(rewritten.program);
    std::vector<Value*> inputs(node.inputs().begin(), node.inputs().begin() + static_cast<std::ptrdiff_t>(first));
    inputs.insert(inputs.end(), rewritten.operands.begin(), rewritten.operands.end());
    set(node, std::move(op), std::move(inputs));
  }

  // The type of a product: that of equal operands, f32 beside narrower weights.
  static DType joined(const Node& node) {
    return node.input(0)->dtype() == node.input(1)->dtype() ? node.input(0)->dtype() : DType::f32;
  }

  // Biases are stored like the result; a residual that is there in bytes is read from them.
  int read_extra(MapWriter& writer, Node& node, Value* extra, DType result) {
    MapProgram& p = writer.program();
    const auto bytes = node.is<Conv>() ? quantized_.find({extra, DType::i8}) : quantized_.end();
    if (bytes != quantized_.end()) {
      const QuantizedValue& q = bytes->second;
      int v = writer.operand(q.bytes);
      if (q.zero != nullptr)
        v = p.binary(MapOp::sub, p.cast(v, DType::i32),
                     p.constant_int(static_cast<int64_t>(*passes::uniform_number(q.zero)), DType::i32));
      return p.binary(MapOp::mul, p.cast(v, DType::f32), p.constant(*passes::uniform_number(q.scale), DType::f32));
    }
    const Tensor* constant = passes::constant_tensor(extra);
    if (!node.is<Attention>() && constant != nullptr && bit_width(result) == 16 && extra->dtype() == DType::f32 &&
        constant->rank() > 0 && fits_half(*constant))
      return p.cast(writer.operand(as_type(node, extra, result)), DType::f32);
    return read(writer, extra);
  }

  // The prologue reads operands as they are; the norm's own arithmetic is f32 in any case.
  void compute_norm(Node& node, LayerType type) {
    Norm op = *node.as<Norm>();
    const auto count = static_cast<size_t>(op.num_x);
    restore(node, count);
    const auto operands = node.inputs().first(count);
    const bool reads_narrow =
        std::any_of(operands.begin(), operands.end(), [&](const Value* v) { return narrowed(v); });
    if (!reads_narrow && type.result == DType::f32) return;
    MapWriter writer;
    MapProgram plain = op.prologue;
    if (plain.empty()) plain = identity_program(DType::f32);
    const int value = writer.inlined(plain, operands, [&](Value* v) { return read(writer, v); });
    MapWriter::Result rewritten = writer.finish(writer.program().cast(value, type.result));
    op.num_x = static_cast<int64_t>(rewritten.operands.size());
    op.prologue = rewritten.program.is_identity() && op.num_x == 1 ? MapProgram() : std::move(rewritten.program);
    std::vector<Value*> inputs = std::move(rewritten.operands);
    inputs.insert(inputs.end(), node.inputs().begin() + static_cast<std::ptrdiff_t>(count), node.inputs().end());
    set(node, op, std::move(inputs));
  }

  // ---- bytes ----

  void quantize_operands(Node& node, DType type) {
    const bool convolution = node.is<Conv>();
    const size_t rank = node.input(1)->shape().size();
    const size_t channels = convolution ? 0 : node.as<MatMul>()->trans_b ? rank - 2 : rank - 1;
    const auto& w = weights_.quantized(*passes::constant_tensor(node.input(1)), channels, type);
    const QuantizedValue weights{passes::insert(graph_, &node, Constant{w.elements}, {}),
                                 passes::insert(graph_, &node, Constant{w.scales}, {}), nullptr};
    Value* x = node.input(0);
    const QuantizedValue activations = has_one_range(node, type, options_.support, options_.static_activations)
                                           ? quantized_value(node, x, type)
                                           : quantized_rows(node, x, type);
    set_input(node, 0, dequantized(graph_, node, activations));
    set_input(node, 1, dequantized(graph_, node, weights));
  }

  // Each row by what it holds.
  QuantizedValue quantized_rows(Node& before, Value* x, DType type) {
    QuantizedValue& known = rows_[{x, type}];
    if (known.bytes != nullptr) return known;
    DynamicQuantize op;
    op.axis = x->type().rank() - 1;
    op.floating = type == DType::f8e4m3;
    op.symmetric = !op.floating && !options_.support.asymmetric_bytes;
    const bool zeros = !op.floating && !op.symmetric;
    const size_t outputs = zeros ? 3 : 2;
    const Node* node = graph_.insert_before(&before, op, {x}, outputs, before.name());
    known = {node->output(0), node->output(1), zeros ? node->output(2) : nullptr};
    return known;
  }

  // In the spelling that passes and kernels of convolutions recognise.
  static int bytes_as_in_onnx(MapProgram& p, int x, const Affine& affine, DType type) {
    const int scale = p.constant(static_cast<float>(affine.scale), DType::f32);
    int v = p.unary(MapOp::round, p.binary(MapOp::div, x, scale));
    if (affine.zero != 0) v = p.binary(MapOp::add, v, p.constant(affine.zero, DType::f32));
    v = p.binary(MapOp::max, v, p.constant(affine.low, DType::f32));
    return p.cast(p.binary(MapOp::min, v, p.constant(affine.high, DType::f32)), type);
  }

  // The fewest instructions, as products compute them on each result that they store.
  static int bytes_as_stored(MapProgram& p, int x, const Affine& affine, DType type) {
    int v = p.binary(MapOp::mul, x, p.constant(static_cast<float>(1 / affine.scale), DType::f32));
    if (affine.zero != 0) v = p.binary(MapOp::add, v, p.constant(affine.zero, DType::f32));
    if (is_integer(type)) v = p.unary(MapOp::round, v);
    return p.push({.op = MapOp::cast_sat, .type = type, .args = {v}});
  }

  // By the calibrated range of the whole value.
  QuantizedValue quantized_value(Node& before, Value* x, DType layer) {
    QuantizedValue& known = quantized_[{x, layer}];
    if (known.bytes != nullptr) return known;
    const auto range = options_.ranges.find(x->name());
    if (range == options_.ranges.end())
      fail(ErrorCode::invalid_argument, "there is no calibrated range for the value '{}'", x->name());
    const bool stored = options_.support.narrow_activations && !before.is<Conv>();
    const bool floating = layer == DType::f8e4m3;
    const bool asymmetric = !floating && (stored || options_.support.asymmetric_bytes);
    const DType type = floating ? layer : asymmetric ? DType::u8 : DType::i8;
    const Affine affine = floating ? float8_of(range->second) : affine_of(range->second, asymmetric);
    MapWriter writer;
    MapProgram& p = writer.program();
    const int real = read(writer, x);
    MapWriter::Result map =
        writer.finish(stored ? bytes_as_stored(p, real, affine, type) : bytes_as_in_onnx(p, real, affine, type));
    known.bytes = passes::insert(graph_, &before, Map{std::move(map.program), {}}, std::move(map.operands));
    known.scale = passes::insert(graph_, &before, Constant{Tensor::scalar(static_cast<float>(affine.scale))}, {});
    if (affine.zero != 0)
      known.zero = passes::insert(graph_, &before, Constant{Tensor::scalar(static_cast<uint8_t>(affine.zero))}, {});
    return known;
  }

  Graph& graph_;
  const ApplyOptions& options_;
  ConvertedWeights& weights_;
  std::unordered_set<const Value*> narrowed_;                     // values that were f32 and now are 16 bits wide
  std::map<std::pair<Value*, DType>, Value*> converted_;          // by the nodes that needed another type
  std::map<std::pair<Value*, DType>, QuantizedValue> rows_;       // bytes of values, row by row
  std::map<std::pair<Value*, DType>, QuantizedValue> quantized_;  // by one range for all
  bool changed_ = false;                                          // the node being visited
};

}  // namespace

Affine affine_of(Range range, bool asymmetric) {
  const double low = std::min(range.low, 0.0), high = std::max(range.high, 0.0);
  if (!asymmetric) {
    const double most = std::max(-low, high);
    return {most > 0 ? most / 127 : 1, 0, -127, 127};
  }
  const double scale = high > low ? (high - low) / 255 : 1;
  return {scale, std::round(-low / scale), 0, 255};
}

Affine float8_of(Range range) {
  constexpr double kLargest = 448, kRoom = 4;
  const double most = std::max(-range.low, range.high);
  return {most > 0 ? most * kRoom / kLargest : 1, 0, -kLargest, kLargest};
}

void apply(Graph& graph, const Assignment& assignment, const ApplyOptions& options, ConvertedWeights& weights) {
  Applier(graph, options, weights).run(assignment);
}

}  // namespace lathe::precision
