// Products and convolutions of dequantised operands become products of bytes: with x = (a - a_zero) * a_scale and
// w = (b - b_zero) * b_scale, the sum of x * w is that of (a - a_zero) * (b - b_zero), times both scales. The integer
// sum is exact, so the result differs from the float one by its rounding alone.
//
// The largest of dequantised values is the largest of the quantised ones, dequantised; and quantising again what has
// just been dequantised, with the same parameters, gives it back. So bytes stay bytes through a max pooling.
//
// Scales and zero points may not depend on the axis that is summed over. Weights must be constant. The dequantisation
// of the activation stays for others who use it.
#include "passes/expr.h"
#include "passes/map_writer.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

bool is_byte(DType type) { return type == DType::u8 || type == DType::i8 || type == DType::f8e4m3; }

// The number that a parameter is everywhere. Importers give parameters the rank of the tensor by reshapes, which are
// not folded yet.
std::optional<double> number_of(const Expr& e) {
  if (const auto number = e.number()) return number;
  if (!e.is_opaque()) return std::nullopt;
  const Value* value = e.value();
  while (producer_as<Reshape>(value) != nullptr) value = value->producer()->input(0);
  return uniform_number(value);
}

// (q - zero) * scale
struct Quantized {
  Value* q = nullptr;
  Expr zero, scale;  // zero is not set where there is none
  bool has_zero = false;

  std::optional<double> zero_number() const { return has_zero ? number_of(zero) : std::optional(0.0); }
};

Expr without_integer_casts(Expr e) {
  while (!e.is_opaque() && e.op() == MapOp::cast && is_integer(e.dtype()) && is_integer(e.arg(0).dtype())) e = e.arg(0);
  return e;
}

// A parameter that a program can read: a number or a value.
bool is_readable(const Expr& e) { return number_of(e).has_value() || e.value() != nullptr; }

std::optional<Quantized> quantized(Value* value) {
  const Expr e(value);
  if (e.is_opaque() || e.op() != MapOp::mul || e.dtype() != DType::f32) return std::nullopt;
  for (const int side : {0, 1}) {
    const Expr real = e.arg(side);
    Quantized result;
    result.scale = e.arg(1 - side);
    if (real.is_opaque() || real.op() != MapOp::cast) continue;
    if (!is_integer(real.arg(0).dtype()) && !is_byte(real.arg(0).dtype())) continue;
    Expr q = without_integer_casts(real.arg(0));
    if (!q.is_opaque() && q.op() == MapOp::sub && q.dtype() == DType::i32) {
      result.zero = without_integer_casts(q.arg(1));
      result.has_zero = true;
      q = without_integer_casts(q.arg(0));
    }
    result.q = q.value();
    if (result.q == nullptr || !is_byte(result.q->dtype()) || !result.q->type().ranked) continue;
    if (!is_readable(result.scale) || (result.has_zero && !is_readable(result.zero))) continue;
    if (result.q->shape() == value->shape()) return result;
  }
  return std::nullopt;
}

// One number for the whole tensor.
bool is_single(const Expr& e) { return number_of(e).has_value() || product(e.value()->shape()) == Dim(1); }

// Builds the epilogue of an integer product.
class EpilogueBuilder {
 public:
  // `sum`: i32, or f32 for floats of 8 bits, which have no zero points.
  explicit EpilogueBuilder(DType sum = DType::i32) : writer_({sum}), sum_(writer_.leading(0)) {}

  // An i32 or f32 parameter; `value` stands for the one of the expression where that was moved.
  int read(const Expr& e, DType type, Value* value = nullptr) {
    MapProgram& p = writer_.program();
    if (const auto number = number_of(e))
      return is_integer(type) ? p.constant_int(static_cast<int64_t>(*number), type) : p.constant(*number, type);
    return p.cast(writer_.operand(value != nullptr ? value : e.value()), type);
  }
  void subtract(int a, int b) {
    MapProgram& p = writer_.program();
    sum_ = p.binary(MapOp::sub, sum_, p.binary(MapOp::mul, a, b));
  }
  // The term that both corrections took off.
  void add_to_sum(int a_zero, int b_zero, const Dim& depth) {
    MapProgram& p = writer_.program();
    const int zeros = p.binary(MapOp::mul, a_zero, b_zero);
    sum_ = p.binary(MapOp::add, sum_, p.binary(MapOp::mul, zeros, p.cast(p.dim(depth), DType::i32)));
  }
  int operand(Value* value) { return writer_.operand(value); }

  // The rest of the epilogue on the scaled sum: `old` over the operands from the third on.
  MapWriter::Result finish(int a_scale, int b_scale, const MapProgram& old, std::span<Value* const> inputs) {
    MapProgram& p = writer_.program();
    int result = p.binary(MapOp::mul, p.cast(sum_, DType::f32), p.binary(MapOp::mul, a_scale, b_scale));
    if (!old.empty()) {
      std::vector<int> arguments = {result};
      for (Value* extra : inputs.subspan(2)) arguments.push_back(writer_.operand(extra));
      result = p.inline_program(old, arguments);
    }
    return writer_.finish(result);
  }

 private:
  MapWriter writer_;
  int sum_;
};

void emit(Graph& graph, Node& node, Op op, Value* a, Value* b, MapWriter::Result epilogue) {
  if (auto* m = std::get_if<MatMul>(&op)) m->epilogue = std::move(epilogue.program);
  if (auto* c = std::get_if<Conv>(&op)) c->epilogue = std::move(epilogue.program);
  std::vector<Value*> inputs = {a, b};
  inputs.insert(inputs.end(), epilogue.operands.begin(), epilogue.operands.end());
  replace(graph, &node, node.output(), std::move(op), std::move(inputs));
}

// The sums of a matrix of bytes along its rows, as a product with ones: see the importer of quantised ops.
Value* ones(Graph& graph, Node& node, const Dim& rows, const Dim& columns) {
  Tensor tensor(DType::i8, {rows.value(), columns.value()});
  for (int64_t i = 0; i < tensor.elements(); ++i) tensor.write_int(i, 1);
  return insert(graph, &node, Constant{std::move(tensor)}, {});
}
Value* row_sums(Graph& graph, Node& node, Value* bytes, const Dim& depth) {
  return insert(graph, &node, MatMul{}, {bytes, ones(graph, node, depth, Dim(1))});
}
// Along its columns: [1, columns]. Added up here, as a product of constants would take long to fold.
Value* column_sums(Graph& graph, Node& node, const Value* weights, bool transposed) {
  const Tensor bytes = constant_tensor(weights)->aligned();
  const int64_t lines = bytes.dims()[0], width = bytes.dims()[1];
  Tensor sums(DType::i32, {1, transposed ? lines : width});
  const auto add_up = [&](auto values) {
    const auto totals = sums.mutable_as<int32_t>();
    std::fill(totals.begin(), totals.end(), 0);
    for (int64_t line = 0; line < lines; ++line)
      for (int64_t i = 0; i < width; ++i)
        totals[static_cast<size_t>(transposed ? line : i)] += values[static_cast<size_t>(line * width + i)];
  };
  if (bytes.dtype() == DType::i8)
    add_up(bytes.as<int8_t>());
  else
    add_up(bytes.as<uint8_t>());
  return insert(graph, &node, Constant{std::move(sums)}, {});
}

// A parameter of b as it stands over the columns of the product; null where it changes along the axis of the sum.
// Numbers need no value.
std::optional<Value*> over_columns(Graph& graph, Node& node, const Expr& e, bool trans_b) {
  if (number_of(e)) return nullptr;
  Value* value = e.value();
  const Shape& shape = value->shape();
  const size_t from_end = trans_b ? 1 : 2;
  if (shape.size() >= from_end && !(shape[shape.size() - from_end] == Dim(1))) return std::nullopt;
  if (!trans_b || shape.size() < 2) return value;
  std::vector<int64_t> perm;
  for (size_t i = 0; i < shape.size(); ++i) perm.push_back(static_cast<int64_t>(i));
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return insert(graph, &node, Transpose{perm}, {value});
}

bool rewrite_matmul(Graph& graph, Node& node, const MatMul& op) {
  const auto a = quantized(node.input(0)), b = quantized(node.input(1));
  if (!a || !b || op.trans_a || producer_as<Constant>(b->q) == nullptr || b->q->type().rank() != 2) return false;
  const auto rows_only = [](const Expr& e) { return is_single(e) || e.value()->shape().back() == Dim(1); };
  if (!rows_only(a->scale) || (a->has_zero && !rows_only(a->zero))) return false;
  const auto b_scale = over_columns(graph, node, b->scale, op.trans_b);
  const auto b_zero = b->has_zero ? over_columns(graph, node, b->zero, op.trans_b) : std::optional<Value*>(nullptr);
  if (!b_scale || !b_zero) return false;
  const bool floats = is_float(a->q->dtype());
  if (floats != is_float(b->q->dtype())) return false;
  EpilogueBuilder epilogue(floats ? DType::f32 : DType::i32);
  const bool a_moved = a->zero_number() != 0.0, b_moved = b->zero_number() != 0.0;
  if (a_moved) {
    Value* columns = column_sums(graph, node, b->q, op.trans_b);
    epilogue.subtract(epilogue.read(a->zero, DType::i32), epilogue.operand(columns));
  }
  if (b_moved) {
    Value* rows = row_sums(graph, node, a->q, b->q->shape()[op.trans_b ? 1 : 0]);
    epilogue.subtract(epilogue.read(b->zero, DType::i32, *b_zero), epilogue.operand(rows));
  }
  if (a_moved && b_moved) {
    epilogue.add_to_sum(epilogue.read(a->zero, DType::i32), epilogue.read(b->zero, DType::i32, *b_zero),
                        a->q->shape().back());
  }
  emit(graph, node, op, a->q, b->q,
       epilogue.finish(epilogue.read(a->scale, DType::f32), epilogue.read(b->scale, DType::f32, *b_scale), op.epilogue,
                       node.inputs()));
  return true;
}

// A parameter of a filter [M, 1, ..] as it stands over the result [N, M, spatial..].
std::optional<Value*> over_channels(Graph& graph, Node& node, const Expr& e, size_t rank) {
  if (number_of(e)) return nullptr;
  Value* value = e.value();
  if (product(value->shape()) == Dim(1)) return insert(graph, &node, Reshape{Shape{}}, {value});
  if (value->shape().size() != rank || !(product(value->shape()) == value->shape()[0])) return std::nullopt;
  Shape shape(rank - 1, Dim(1));
  shape[0] = value->shape()[0];
  return insert(graph, &node, Reshape{shape}, {value});
}

bool rewrite_conv(Graph& graph, Node& node, const Conv& op) {
  const auto x = quantized(node.input(0)), w = quantized(node.input(1));
  if (!x || !w || is_float(x->q->dtype()) || is_float(w->q->dtype()) || op.pad_value != 0 || op.channels_last ||
      producer_as<Constant>(w->q) == nullptr)
    return false;
  const auto x_zero = x->zero_number();
  if (!x_zero || w->zero_number() != 0.0 || !is_single(x->scale)) return false;
  const size_t rank = w->q->shape().size();
  const auto w_scale = over_channels(graph, node, w->scale, rank);
  if (!w_scale) return false;
  EpilogueBuilder epilogue;
  if (*x_zero != 0) {
    const Shape& filter = w->q->shape();
    Value* rows =
        insert(graph, &node, Reshape{Shape{filter[0], product(Shape(filter.begin() + 1, filter.end()))}}, {w->q});
    Shape shape(rank - 1, Dim(1));
    shape[0] = filter[0];
    Value* filters = insert(graph, &node, Reshape{shape}, {row_sums(graph, node, rows, rows->shape()[1])});
    epilogue.subtract(epilogue.read(x->zero, DType::i32), epilogue.operand(filters));
  }
  Conv conv = op;
  conv.pad_value = *x_zero;
  emit(graph, node, std::move(conv), x->q, w->q,
       epilogue.finish(epilogue.read(x->scale, DType::f32), epilogue.read(w->scale, DType::f32, *w_scale), op.epilogue,
                       node.inputs()));
  return true;
}

bool rewrite_pool(Graph& graph, Node& node, const Pool& op) {
  const auto x = quantized(node.input(0));
  const Node* map = node.input(0)->producer();
  if (op.kind != PoolKind::max || !x || !(number_of(x->scale) > 0.0) || map == nullptr || !map->is<Map>()) return false;
  if (map->as<Map>()->shape) return false;
  std::vector<Value*> inputs(map->inputs().begin(), map->inputs().end());
  const auto q = std::find(inputs.begin(), inputs.end(), x->q);
  if (q == inputs.end()) return false;
  const auto is_parameter = [&](const Value* v) { return v == x->q || product(v->shape()) == Dim(1); };
  if (!std::all_of(inputs.begin(), inputs.end(), is_parameter)) return false;
  *q = insert(graph, &node, op, {x->q});
  replace(graph, &node, node.output(), map->op(), std::move(inputs));
  return true;
}

bool same(const Expr& a, const Expr& b) { return a == b || (number_of(a).has_value() && number_of(a) == number_of(b)); }

// cast(clamp(round(x / scale) + zero)) of an x that was dequantised with the same scale and zero point.
bool rewrite_requantized(Graph& graph, Node& node) {
  Expr e(node.output());
  if (e.is_opaque() || e.op() != MapOp::cast || !is_byte(e.dtype())) return false;
  e = e.arg(0);
  while (!e.is_opaque() && (e.op() == MapOp::min || e.op() == MapOp::max)) {
    const bool first = e.arg(0).number().has_value();
    const auto bound = e.arg(first ? 0 : 1).number();
    const double limit = (e.op() == MapOp::min ? 255 : 0) - (node.output()->dtype() == DType::i8 ? 128 : 0);
    if (bound != limit) return false;
    e = e.arg(first ? 1 : 0);
  }
  Expr zero;
  const bool has_zero = !e.is_opaque() && e.op() == MapOp::add;
  if (has_zero) {
    zero = e.arg(1);
    while (!zero.is_opaque() && zero.op() == MapOp::cast) zero = zero.arg(0);
    e = e.arg(0);
  }
  if (e.is_opaque() || e.op() != MapOp::round) return false;
  e = e.arg(0);
  if (e.is_opaque() || e.op() != MapOp::div) return false;
  const Expr scale = e.arg(1), real = e.arg(0);
  if (real.value() == nullptr) return false;
  const auto x = quantized(real.value());
  if (!x || x->q->dtype() != node.output()->dtype() || !same(x->scale, scale)) return false;
  if (!(number_of(x->scale) > 0.0) || !(x->q->shape() == node.output()->shape())) return false;
  if (has_zero ? !x->has_zero || !same(x->zero, zero) : x->zero_number() != 0.0) return false;
  graph.replace_uses(node.output(), x->q);
  return true;
}

bool rewrite(Graph& graph, Node& node) {
  if (node.outputs().size() != 1) return false;
  if (node.is<Map>()) return rewrite_requantized(graph, node);
  if (const auto* p = node.as<Pool>()) return rewrite_pool(graph, node, *p);
  if (const auto* m = node.as<MatMul>()) return rewrite_matmul(graph, node, *m);
  if (const auto* c = node.as<Conv>()) return rewrite_conv(graph, node, *c);
  return false;
}

}  // namespace

int integer_products(Graph& graph) { return rewrite_nodes(graph, rewrite); }

}  // namespace lathe::passes
