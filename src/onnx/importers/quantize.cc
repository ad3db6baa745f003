// QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear and the arithmetic behind all quantised ops.
#include "onnx/importers/quantize.h"

#include <cmath>

#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

struct Limits {
  double low, high;
};

Limits integer_limits(DType type) {
  const int bits = bit_width(type);
  const double span = std::ldexp(1.0, bits);
  return is_signed_int(type) ? Limits{-span / 2, span / 2 - 1} : Limits{0, span - 1};
}

int to_i32(MapProgram& p, int x) { return p.cast(x, DType::i32); }

// f32 to an integer type: rounded, moved by the zero point (negative: none), saturated.
int saturated(MapProgram& p, int value, int zero_point, DType to) {
  value = p.unary(MapOp::round, value);
  if (zero_point >= 0) value = p.binary(MapOp::add, value, p.cast(to_i32(p, zero_point), DType::f32));
  const Limits limits = integer_limits(to);
  value = p.binary(MapOp::max, value, p.constant(limits.low, DType::f32));
  return p.cast(p.binary(MapOp::min, value, p.constant(limits.high, DType::f32)), to);
}

}  // namespace

Value* dequantize(Emitter& emitter, Value* x, const Quantization& q, DType to) {
  std::vector<Value*> operands = {x, q.scale};
  const bool integral = is_integer(x->dtype());
  if (q.zero_point != nullptr) operands.push_back(q.zero_point);
  return emitter.map(operands, [&](MapProgram& p, const std::vector<int>& in) {
    int v = in[0];
    if (in.size() == 3 && integral) v = p.binary(MapOp::sub, to_i32(p, v), to_i32(p, in[2]));
    return p.cast(p.binary(MapOp::mul, p.cast(v, DType::f32), p.cast(in[1], DType::f32)), to);
  });
}

Value* quantize(Emitter& emitter, Value* x, const Quantization& q, DType to, bool saturate) {
  std::vector<Value*> operands = {x, q.scale};
  const bool integral = is_integer(to);
  if (q.zero_point != nullptr && integral) operands.push_back(q.zero_point);
  return emitter.map(operands, [&](MapProgram& p, const std::vector<int>& in) {
    const int v = p.binary(MapOp::div, p.cast(in[0], DType::f32), p.cast(in[1], DType::f32));
    if (!integral) return saturate ? p.push({MapOp::cast_sat, to, {v, 0, 0}}) : p.cast(v, to);
    return saturated(p, v, in.size() == 3 ? in[2] : -1, to);
  });
}

Value* requantize(Emitter& emitter, Value* x, Value* ratio, Value* zero_point, DType to) {
  std::vector<Value*> operands = {x, ratio};
  if (zero_point != nullptr) operands.push_back(zero_point);
  return emitter.map(operands, [&](MapProgram& p, const std::vector<int>& in) {
    const int v = p.binary(MapOp::mul, p.cast(in[0], DType::f32), p.cast(in[1], DType::f32));
    return saturated(p, v, in.size() == 3 ? in[2] : -1, to);
  });
}

// As a product with ones, where the number of summands is known: integer products have fast kernels, and those of
// weights fold to a row, with nothing larger on the way.
Value* sums_of_bytes(Context& ctx, Value* v, int64_t axis) {
  const int64_t rank = v->type().rank();
  const Dim& depth = v->shape()[static_cast<size_t>(axis)];
  if (!depth.is_constant()) return ctx.reduce(ReduceKind::sum, ctx.cast(v, DType::i32), {axis});
  const bool rows = axis == rank - 1;
  Tensor ones(DType::i8, rows ? std::vector<int64_t>{depth.value(), 1} : std::vector<int64_t>{1, depth.value()});
  for (int64_t i = 0; i < ones.elements(); ++i) ones.write_int(i, 1);
  return rows ? ctx.matmul(v, ctx.constant(std::move(ones))) : ctx.matmul(ctx.constant(std::move(ones)), v);
}

Value* integer_matmul(Context& ctx, Value* a, Value* b, Value* a_zero, Value* b_zero) {
  const auto i32 = [&](Value* v) { return ctx.cast(v, DType::i32); };
  // One zero point per row stands in a column; [M] becomes [M, 1].
  const auto per_row = [&](Value* v) {
    if (v->type().rank() == 1 && !(v->shape()[0] == Dim(1))) return ctx.unsqueeze(v, {1});
    return v->type().rank() == 1 ? ctx.reshape(v, {}) : v;
  };
  const int64_t a_rank = a->type().rank(), b_rank = b->type().rank();
  if (a_rank < 2 || b_rank < 2) ctx.unsupported("an integer product with a vector is not supported");
  const Dim depth = a->shape().back();
  std::vector<Value*> operands = {ctx.matmul(a, b)};
  if (a_zero != nullptr) operands.insert(operands.end(), {i32(per_row(a_zero)), sums_of_bytes(ctx, b, b_rank - 2)});
  if (b_zero != nullptr) operands.insert(operands.end(), {i32(b_zero), sums_of_bytes(ctx, a, a_rank - 1)});
  if (operands.size() == 1) return operands[0];
  return ctx.map(operands, [&](MapProgram& p, const std::vector<int>& in) {
    int y = in[0];
    for (size_t i = 1; i < in.size(); i += 2) y = p.binary(MapOp::sub, y, p.binary(MapOp::mul, in[i], in[i + 1]));
    if (in.size() < 5) return y;
    const int both = p.binary(MapOp::mul, in[1], in[3]);
    return p.binary(MapOp::add, y, p.binary(MapOp::mul, both, to_i32(p, p.dim(depth))));
  });
}

DynamicQuantization dynamic_quantize(Emitter& emitter, Value* x) {
  const Node* node = emitter.append(DynamicQuantize{}, {x}, 3);
  return {node->output(0), emitter.reshape(node->output(1), {}), emitter.reshape(node->output(2), {})};
}

namespace {

// A parameter with one entry for the tensor, per index of an axis, or per block along it, made to broadcast.
Value* spread(Context& ctx, Value* v, const Shape& shape, int64_t axis_attr, int64_t block) {
  const auto rank = static_cast<int64_t>(shape.size());
  if (v == nullptr) return v;
  if (v->type().rank() == 0 || product(v->shape()) == Dim(1)) return ctx.reshape(v, {});
  const int64_t axis = ctx.resolve_axis(axis_attr, rank);
  const auto at = static_cast<size_t>(axis);
  if (block == 0) {
    if (v->type().rank() != 1) ctx.invalid("scale and zero point must be scalars or vectors");
    Shape aligned(static_cast<size_t>(rank - axis), Dim(1));
    aligned[0] = v->shape()[0];
    return ctx.reshape(v, std::move(aligned));
  }
  if (v->type().rank() != rank) ctx.invalid("blocked scales must have the rank of the operand");
  Shape split = v->shape(), repeated, merged = v->shape();
  split.insert(split.begin() + axis + 1, Dim(1));
  repeated = split;
  repeated[at + 1] = block;
  merged[at] = merged[at] * Dim(block);
  Value* full = ctx.reshape(ctx.expand(ctx.reshape(v, split), repeated), merged);
  return merged[at] == shape[at] ? full : ctx.slice(full, axis, 0, shape[at]);
}

Quantization operand_quantization(Context& ctx) {
  const int64_t axis = ctx.attr_int("axis", 1), block = ctx.attr_int("block_size", 0);
  const Shape& shape = ctx.shape(0);
  return {spread(ctx, ctx.input(1), shape, axis, block), spread(ctx, ctx.optional_input(2), shape, axis, block)};
}

void import_quantize_linear(Context& ctx) {
  DType to = ctx.has_input(2) ? ctx.dtype(2) : DType::u8;
  if (ctx.attr_int("output_dtype", 0) != 0) to = ctx.attr_dtype("output_dtype", to);
  ctx.set_output(0, quantize(ctx, ctx.input(0), operand_quantization(ctx), to, ctx.attr_bool("saturate", true)));
}

void import_dequantize_linear(Context& ctx) {
  DType to = ctx.dtype(1);
  if (ctx.attr_int("output_dtype", 0) != 0) to = ctx.attr_dtype("output_dtype", to);
  ctx.set_output(0, dequantize(ctx, ctx.input(0), operand_quantization(ctx), to));
}

void import_dynamic_quantize_linear(Context& ctx) {
  ctx.shape(0);
  const DynamicQuantization q = dynamic_quantize(ctx, ctx.input(0));
  ctx.set_output(0, q.y);
  ctx.set_output(1, q.scale);
  ctx.set_output(2, q.zero_point);
}

// Bytes that hold two numbers of 4 bits along the last axis, the lower half first, one by one.
Value* halves(Context& ctx, Value* bytes) {
  const DType u8 = DType::u8;
  Value* low = ctx.map(
      {bytes}, [&](MapProgram& p, const auto& in) { return p.binary(MapOp::bit_and, in[0], p.constant_int(15, u8)); });
  Value* high = ctx.map({bytes}, [&](MapProgram& p, const auto& in) {
    return p.binary(MapOp::shift_right, in[0], p.constant_int(4, u8));
  });
  const int64_t rank = bytes->type().rank();
  Shape shape = bytes->shape();
  shape.back() = shape.back() * Dim(2);
  return ctx.reshape(ctx.concat({ctx.unsqueeze(low, {rank}), ctx.unsqueeze(high, {rank})}, rank), std::move(shape));
}

// (data, indices, scales, zero points?): rows of a table whose last axis is quantised by blocks.
void import_gather_block_quantized(Context& ctx) {
  const int64_t rank = ctx.rank(0), axis = ctx.resolve_axis(ctx.attr_int("gather_axis", 0), rank);
  const int64_t bits = ctx.attr_int("bits", 4), block = ctx.attr_int("block_size", 128);
  if (axis == rank - 1 || ctx.resolve_axis(ctx.attr_int("quantize_axis", 1), rank) != rank - 1)
    ctx.unsupported("blocks along another axis than the last, or rows along that one");
  if (bits != 4 && bits != 8) ctx.invalid("bits are neither 4 nor 8");
  const bool bytes = ctx.dtype(0) == DType::u8, packed = bytes && bits == 4;
  const auto rows = [&](size_t i, bool halved) {
    Value* v = ctx.gather(ctx.input(i), ctx.input(1), axis);
    return halved ? halves(ctx, v) : v;
  };
  Value *data = rows(0, packed), *scales = rows(2, false), *zeros = nullptr;
  const Shape& shape = data->shape();
  if (ctx.has_input(3)) {
    zeros = rows(3, packed);
    if (packed && !(zeros->shape().back() == scales->shape().back()))  // a last half byte is there but not used
      zeros = ctx.slice(zeros, zeros->type().rank() - 1, 0, scales->shape().back());
    zeros = spread(ctx, zeros, shape, -1, block);
  } else if (bytes) {
    zeros = ctx.constant(Tensor::scalar(static_cast<uint8_t>(1 << (bits - 1))));
  }
  ctx.set_output(0, dequantize(ctx, data, {spread(ctx, scales, shape, -1, block), zeros}, ctx.dtype(2)));
}

constexpr OpRow kRows[] = {
    {"", "DequantizeLinear", 10, import_dequantize_linear},
    {"", "DynamicQuantizeLinear", 11, import_dynamic_quantize_linear},
    {"", "QuantizeLinear", 10, import_quantize_linear},
    {kMicrosoft, "DequantizeLinear", 1, import_dequantize_linear},
    {kMicrosoft, "GatherBlockQuantized", 1, import_gather_block_quantized},
    {kMicrosoft, "QuantizeLinear", 1, import_quantize_linear},
};

}  // namespace

std::span<const OpRow> quantize_ops() { return kRows; }

}  // namespace lathe::onnx
