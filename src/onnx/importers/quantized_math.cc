// Ops on quantised tensors: integer and QLinear products, convolutions and elementwise ops.
#include <algorithm>
#include <numeric>

#include "onnx/importers/context.h"
#include "onnx/importers/quantize.h"
#include "onnx/importers/table.h"
#include "onnx/importers/window.h"

namespace lathe::onnx {
namespace {

// Scale and zero point as consecutive operands that are scalars, or one per index of the tensor's `axis`.
Quantization quantization_at(Context& ctx, size_t scale, int64_t trailing_axes = 0) {
  const auto shaped = [&](Value* v) -> Value* {
    if (v == nullptr || v->type().rank() == 0) return v;
    if (product(v->shape()) == Dim(1)) return ctx.reshape(v, {});
    Shape shape(static_cast<size_t>(trailing_axes) + 1, Dim(1));
    shape[0] = product(v->shape());
    return trailing_axes == 0 ? v : ctx.reshape(v, std::move(shape));
  };
  return {shaped(ctx.input(scale)), shaped(ctx.optional_input(scale + 1))};
}

// round(acc * a_scale * b_scale / y_scale) + y_zero, saturated.
Value* rescaled(Context& ctx, Value* acc, Value* a_scale, Value* b_scale, const Quantization& y, DType to) {
  Value* ratio = ctx.map({a_scale, b_scale, y.scale}, [](MapProgram& p, const auto& in) {
    return p.binary(MapOp::div, p.binary(MapOp::mul, in[0], in[1]), in[2]);
  });
  return requantize(ctx, acc, ratio, y.zero_point, to);
}

DType output_dtype(Context& ctx, size_t zero_point) {
  return ctx.has_input(zero_point) ? ctx.dtype(zero_point) : ctx.dtype(0);
}

// --- products

void import_matmul_integer(Context& ctx) {
  ctx.set_output(0, integer_matmul(ctx, ctx.input(0), ctx.input(1), ctx.optional_input(2), ctx.optional_input(3)));
}

void import_qlinear_matmul(Context& ctx) {
  Value* acc = integer_matmul(ctx, ctx.input(0), ctx.input(3), ctx.input(2), ctx.input(5));
  const Quantization a = quantization_at(ctx, 1), b = quantization_at(ctx, 4), y = quantization_at(ctx, 6);
  const int64_t rows = ctx.rank(1) == 1 && !(ctx.shape(1)[0] == Dim(1)) ? 1 : 0;
  Value* a_scale = rows == 1 ? ctx.unsqueeze(a.scale, {1}) : a.scale;
  ctx.set_output(0, rescaled(ctx, acc, a_scale, b.scale, y, ctx.dtype(7)));
}

// (A - za)(B - zb) * a_scale * b_scale (+ bias) as floats.
Value* scaled_product(Context& ctx, Value* a, Value* b, const Quantization& qa, const Quantization& qb, Value* bias) {
  Value* acc = integer_matmul(ctx, a, b, qa.zero_point, qb.zero_point);
  std::vector<Value*> operands = {acc, qa.scale, qb.scale};
  if (bias != nullptr) operands.push_back(bias);
  return ctx.map(operands, [](MapProgram& p, const std::vector<int>& in) {
    const int scale = p.binary(MapOp::mul, in[1], in[2]);
    const int y = p.binary(MapOp::mul, p.cast(in[0], DType::f32), p.cast(scale, DType::f32));
    return in.size() == 4 ? p.binary(MapOp::add, y, p.cast(in[3], DType::f32)) : y;
  });
}

void import_matmul_integer_to_float(Context& ctx) {
  const DType to = ctx.dtype(2);
  Value* y = scaled_product(ctx, ctx.input(0), ctx.input(1), {ctx.input(2), ctx.optional_input(4)},
                            {ctx.input(3), ctx.optional_input(5)}, ctx.optional_input(6));
  ctx.set_output(0, ctx.cast(y, to));
}

void import_dynamic_quantize_matmul(Context& ctx) {
  const DynamicQuantization a = dynamic_quantize(ctx, ctx.input(0));
  ctx.set_output(0, scaled_product(ctx, a.y, ctx.input(1), {a.scale, a.zero_point},
                                   {ctx.input(2), ctx.optional_input(3)}, ctx.optional_input(4)));
}

// alpha * (A - za)(B - zb) + C, C being i32 in units of alpha * a_scale * b_scale; floats where no output scale is
// given.
void import_qgemm(Context& ctx) {
  const auto oriented = [&](size_t i, bool transposed) {
    return transposed ? ctx.transpose(ctx.input(i), {1, 0}) : ctx.input(i);
  };
  Value *a = oriented(0, ctx.attr_bool("transA", false)), *b = oriented(3, ctx.attr_bool("transB", false));
  const Quantization qa = quantization_at(ctx, 1), qb = quantization_at(ctx, 4);
  Value* acc = integer_matmul(ctx, a, b, qa.zero_point, qb.zero_point);
  if (ctx.has_input(6)) acc = ctx.binary(MapOp::add, acc, ctx.input(6));
  const double alpha = ctx.attr_float("alpha", 1);
  Value* a_scale = alpha == 1 ? qa.scale : ctx.binary(MapOp::mul, qa.scale, ctx.scalar(alpha, qa.scale->dtype()));
  if (ctx.has_input(7))
    return ctx.set_output(0, rescaled(ctx, acc, a_scale, qb.scale, quantization_at(ctx, 7), output_dtype(ctx, 8)));
  ctx.set_output(0, dequantize(ctx, acc, {ctx.binary(MapOp::mul, a_scale, qb.scale), nullptr}, DType::f32));
}

// --- convolutions

bool is_zero(Context& ctx, size_t i) {
  if (!ctx.has_input(i)) return true;
  const auto zero = ctx.known_integers(i);
  return zero && std::all_of(zero->begin(), zero->end(), [](int64_t v) { return v == 0; });
}

// The convolution of x - x_zero and w - w_zero in i32. With a symmetric weight it is taken on the 8-bit operands: x is
// padded with its zero point, by a node of its own where that is not known, and x_zero times the sum of each filter is
// subtracted.
Value* integer_conv(Context& ctx, size_t w_input, size_t x_zero, size_t w_zero, bool last = false) {
  Conv op = read_conv(ctx, ctx.shape(w_input), last);
  const auto spatial = static_cast<int64_t>(op.strides.size());
  Value *x = last ? channels_first(ctx, ctx.input(0)) : ctx.input(0), *w = ctx.input(w_input);
  if (!is_zero(ctx, w_zero)) {
    Value* zero = ctx.cast(ctx.input(w_zero), DType::i32);
    if (zero->type().rank() == 1)
      zero = product(zero->shape()) == Dim(1) ? ctx.reshape(zero, {})
                                              : channel_vector(ctx, ctx.unsqueeze(zero, {1}), spatial + 1);
    w = ctx.binary(MapOp::sub, ctx.cast(w, DType::i32), zero);
    x = ctx.cast(x, DType::i32);
    if (ctx.has_input(x_zero)) x = ctx.binary(MapOp::sub, x, ctx.cast(ctx.reshape(ctx.input(x_zero), {}), DType::i32));
    return ctx.emit(std::move(op), {x, w});
  }
  if (is_zero(ctx, x_zero)) return ctx.emit(std::move(op), {x, w});
  Value* zero = ctx.reshape(ctx.input(x_zero), {});
  if (const auto known = ctx.known_integers(x_zero)) {
    op.pad_value = static_cast<double>(known->at(0));
  } else if (std::any_of(op.pads.begin(), op.pads.end(), [](const Dim& d) { return !(d == Dim(0)); })) {
    Pad pad{PadMode::constant, Shape(2, Dim(0)), Shape(2, Dim(0))};
    pad.begins.insert(pad.begins.end(), op.pads.begin(), op.pads.begin() + spatial);
    pad.ends.insert(pad.ends.end(), op.pads.begin() + spatial, op.pads.end());
    x = ctx.emit(std::move(pad), {x, zero});
    op.pads.assign(op.pads.size(), Dim(0));
  }
  Value* filters = ctx.reshape(w, {w->shape()[0], product(Shape(w->shape().begin() + 1, w->shape().end()))});
  Value* sums = channel_vector(ctx, ctx.squeeze(sums_of_bytes(ctx, filters, 1), {1}), spatial);
  return ctx.map(
      {ctx.emit(std::move(op), {x, w}), ctx.cast(zero, DType::i32), sums},
      [](MapProgram& p, const auto& in) { return p.binary(MapOp::sub, in[0], p.binary(MapOp::mul, in[1], in[2])); });
}

void import_conv_integer(Context& ctx) { ctx.set_output(0, integer_conv(ctx, 1, 2, 3)); }

void import_qlinear_conv(Context& ctx) {
  const bool last = ctx.attr_bool("channels_last", false);
  const int64_t spatial = ctx.rank(0) - 2;
  Value* acc = integer_conv(ctx, 3, 2, 5, last);
  if (ctx.has_input(8)) acc = ctx.binary(MapOp::add, acc, channel_vector(ctx, ctx.input(8), spatial));
  const Quantization x = quantization_at(ctx, 1), w = quantization_at(ctx, 4, spatial), y = quantization_at(ctx, 6);
  Value* result = rescaled(ctx, acc, x.scale, w.scale, y, ctx.dtype(7));
  ctx.set_output(0, last ? channels_last(ctx, result) : result);
}

// --- elementwise and the rest: dequantise, compute, quantise

Value* real(Context& ctx, size_t i) { return dequantize(ctx, ctx.input(i), quantization_at(ctx, i + 1), DType::f32); }

void set_quantized(Context& ctx, Value* y, size_t scale) {
  ctx.set_output(0, quantize(ctx, y, quantization_at(ctx, scale), output_dtype(ctx, scale + 1)));
}

template <MapOp kOp>
void import_qlinear_binary(Context& ctx) {
  set_quantized(ctx, ctx.binary(kOp, real(ctx, 0), real(ctx, 3)), 6);
}

void import_qlinear_sigmoid(Context& ctx) { set_quantized(ctx, ctx.unary(MapOp::sigmoid, real(ctx, 0)), 3); }

void import_qlinear_leaky_relu(Context& ctx) {
  const double alpha = ctx.attr_float("alpha", static_cast<double>(0.01F));
  set_quantized(ctx,
                ctx.map({real(ctx, 0)},
                        [&](MapProgram& p, const auto& in) {
                          const int slope = p.binary(MapOp::mul, p.constant(alpha, DType::f32), in[0]);
                          return p.select(p.binary(MapOp::ge, in[0], p.constant(0, DType::f32)), in[0], slope);
                        }),
                3);
}

void import_qlinear_global_average_pool(Context& ctx) {
  std::vector<int64_t> axes(static_cast<size_t>(std::max<int64_t>(0, ctx.rank(0) - 2)));
  std::iota(axes.begin(), axes.end(), ctx.attr_bool("channels_last", false) ? 1 : 2);
  set_quantized(ctx, ctx.reduce(ReduceKind::mean, real(ctx, 0), axes), 3);
}

void import_qlinear_average_pool(Context& ctx) {
  const bool last = ctx.attr_bool("channels_last", false);
  const Pool op = read_pool(ctx, PoolKind::average, last);
  Value* y = ctx.emit(op, {last ? channels_first(ctx, real(ctx, 0)) : real(ctx, 0)});
  set_quantized(ctx, last ? channels_last(ctx, y) : y, 3);
}

// (condition, then tensor, scale, zero of either choice, then scale and zero of the result)
void import_qlinear_where(Context& ctx) {
  const DType to = ctx.dtype(1);
  Value* y = ctx.map({ctx.input(0), real(ctx, 1), real(ctx, 4)},
                     [](MapProgram& p, const auto& in) { return p.select(in[0], in[1], in[2]); });
  ctx.set_output(0, quantize(ctx, y, quantization_at(ctx, 7), to));
}

void import_qlinear_softmax(Context& ctx) {
  const int64_t axis = ctx.resolve_axis(ctx.attr_int("axis", -1), ctx.rank(0));
  if (ctx.attr_int("opset", 13) >= 13)
    return set_quantized(ctx, ctx.emit(Softmax{axis, false, false}, {real(ctx, 0)}), 3);
  const Shape& shape = ctx.shape(0);
  const Dim rows = product(Shape(shape.begin(), shape.begin() + axis)),
            columns = product(Shape(shape.begin() + axis, shape.end()));
  Value* y = ctx.emit(Softmax{1, false, false}, {ctx.reshape(real(ctx, 0), {rows, columns})});
  set_quantized(ctx, ctx.reshape(y, shape), 3);
}

// (y_scale, y_zero, then tensor, scale, zero of each part)
void import_qlinear_concat(Context& ctx) {
  std::vector<Value*> parts;
  for (size_t i = 2; i + 2 < ctx.num_inputs(); i += 3) parts.push_back(real(ctx, i));
  if (parts.empty()) ctx.invalid("there is nothing to join");
  Value* y = ctx.concat(parts, ctx.resolve_axis(ctx.required_int("axis"), ctx.rank(2)));
  ctx.set_output(0, quantize(ctx, y, quantization_at(ctx, 0), output_dtype(ctx, 1)));
}

constexpr OpRow kRows[] = {
    {"", "ConvInteger", 10, import_conv_integer},
    {"", "MatMulInteger", 10, import_matmul_integer},
    {"", "QLinearConv", 10, import_qlinear_conv},
    {"", "QLinearMatMul", 10, import_qlinear_matmul},
    {kMicrosoft, "DynamicQuantizeMatMul", 1, import_dynamic_quantize_matmul},
    {kMicrosoft, "MatMulIntegerToFloat", 1, import_matmul_integer_to_float},
    {kMicrosoft, "QGemm", 1, import_qgemm},
    {kMicrosoft, "QLinearAdd", 1, import_qlinear_binary<MapOp::add>},
    {kMicrosoft, "QLinearAveragePool", 1, import_qlinear_average_pool},
    {kMicrosoft, "QLinearConcat", 1, import_qlinear_concat},
    {kMicrosoft, "QLinearConv", 1, import_qlinear_conv},
    {kMicrosoft, "QLinearGlobalAveragePool", 1, import_qlinear_global_average_pool},
    {kMicrosoft, "QLinearLeakyRelu", 1, import_qlinear_leaky_relu},
    {kMicrosoft, "QLinearMul", 1, import_qlinear_binary<MapOp::mul>},
    {kMicrosoft, "QLinearSigmoid", 1, import_qlinear_sigmoid},
    {kMicrosoft, "QLinearSoftmax", 1, import_qlinear_softmax},
    {kMicrosoft, "QLinearWhere", 1, import_qlinear_where},
};

}  // namespace

std::span<const OpRow> quantized_math_ops() { return kRows; }

}  // namespace lathe::onnx
