// Normalisations. Those with a node of their own (layer, RMS, group, instance) become it; batch normalisation becomes a
// per-channel line, local response and mean-variance normalisation their formulas.
#include <algorithm>
#include <numeric>

#include "onnx/importers/context.h"
#include "onnx/importers/table.h"
#include "onnx/importers/window.h"

namespace lathe::onnx {
namespace {

// y = x * s + t with s = scale / sqrt(var + epsilon) and t = bias - mean * s, which are constants in a trained model.
Value* normalised_by(Context& ctx, Value* mean, Value* variance) {
  const double epsilon = ctx.attr_float("epsilon", static_cast<double>(1e-5F));
  const DType dtype = ctx.dtype(0), stat = variance->dtype();
  Value *scale = ctx.cast(ctx.input(1), stat), *bias = ctx.cast(ctx.input(2), stat);
  Value* s = ctx.map({scale, variance}, [&](MapProgram& p, const auto& in) {
    return p.binary(MapOp::div, in[0], p.unary(MapOp::sqrt, p.binary(MapOp::add, in[1], p.constant(epsilon, stat))));
  });
  Value* t = ctx.map({bias, ctx.cast(mean, stat), s}, [&](MapProgram& p, const auto& in) {
    return p.binary(MapOp::sub, in[0], p.binary(MapOp::mul, in[1], in[2]));
  });
  const int64_t spatial = std::max<int64_t>(0, ctx.rank(0) - 2);
  return ctx.map({ctx.input(0), channel_vector(ctx, s, spatial), channel_vector(ctx, t, spatial)},
                 [&](MapProgram& p, const auto& in) {
                   const int line = p.binary(MapOp::add, p.binary(MapOp::mul, p.cast(in[0], stat), in[1]), in[2]);
                   return p.cast(line, dtype);
                 });
}

// By the statistics of the batch, which also move the running ones.
void train_batch_norm(Context& ctx) {
  std::vector<int64_t> axes(static_cast<size_t>(ctx.rank(0)));
  std::iota(axes.begin(), axes.end(), 0);
  axes.erase(axes.begin() + 1);
  const DType stat = ctx.dtype(4);
  Value* x = ctx.cast(ctx.input(0), stat);
  Value* mean = ctx.reduce(ReduceKind::mean, x, axes);
  Value* centred = ctx.binary(MapOp::sub, x, mean);
  Value* variance = ctx.reduce(ReduceKind::mean, ctx.binary(MapOp::mul, centred, centred), axes, false);
  mean = ctx.reshape(mean, variance->shape());
  const double momentum = ctx.attr_float("momentum", static_cast<double>(0.9F));
  const auto moved = [&](size_t input, Value* now) {
    return ctx.map({ctx.cast(ctx.input(input), stat), now}, [&](MapProgram& p, const auto& in) {
      return p.binary(MapOp::add, p.binary(MapOp::mul, in[0], p.constant(momentum, stat)),
                      p.binary(MapOp::mul, in[1], p.constant(1 - momentum, stat)));
    });
  };
  ctx.set_output(0, normalised_by(ctx, mean, variance));
  ctx.set_output(1, moved(3, mean));
  ctx.set_output(2, moved(4, variance));
}

void import_batch_norm(Context& ctx) {
  if (ctx.attr_bool("training_mode", false)) return train_batch_norm(ctx);
  if (ctx.opset() < 9 && !ctx.attr_bool("spatial", true)) ctx.unsupported("statistics per position are not supported");
  ctx.set_output(0, normalised_by(ctx, ctx.input(3), ctx.input(4)));
}

// The parameter on the type that the tensor has or f32; other types are cast.
Value* parameter(Context& ctx, size_t i, DType dtype) {
  Value* v = ctx.optional_input(i);
  return v == nullptr || v->dtype() == dtype || v->dtype() == DType::f32 ? v : ctx.cast(v, dtype);
}

template <NormKind kKind>
void import_norm(Context& ctx) {
  Norm op;
  op.kind = kKind;
  op.axis = ctx.resolve_axis(ctx.attr_int("axis", -1), ctx.rank(0));
  op.epsilon = ctx.attr_float("epsilon", static_cast<double>(1e-5F));
  const int64_t axis = op.axis;
  std::vector<Value*> operands = {ctx.input(0), parameter(ctx, 1, ctx.dtype(0))};
  if (kKind == NormKind::layer && ctx.has_input(2)) operands.push_back(parameter(ctx, 2, ctx.dtype(0)));
  const double epsilon = op.epsilon;
  ctx.set_output(0, ctx.emit(std::move(op), std::move(operands)));
  if (!ctx.wants_output(1) && !ctx.wants_output(2)) return;
  // The statistics, which training exports ask for: mean and 1 / sqrt(var + epsilon); of RMS norms the latter alone.
  std::vector<int64_t> axes(static_cast<size_t>(ctx.rank(0) - axis));
  std::iota(axes.begin(), axes.end(), axis);
  Value* x = ctx.cast(ctx.input(0), DType::f32);
  Value* mean = ctx.reduce(ReduceKind::mean, x, axes);
  Value* centred = kKind == NormKind::layer ? ctx.binary(MapOp::sub, x, mean) : x;
  Value* variance = ctx.reduce(ReduceKind::mean, ctx.binary(MapOp::mul, centred, centred), axes);
  Value* inverse = ctx.map({variance}, [&](MapProgram& p, const auto& in) {
    return p.unary(MapOp::reciprocal,
                   p.unary(MapOp::sqrt, p.binary(MapOp::add, in[0], p.constant(epsilon, DType::f32))));
  });
  if (kKind == NormKind::rms) return ctx.set_output(1, inverse);
  ctx.set_output(1, mean);
  ctx.set_output(2, inverse);
}

// input + skip (+ bias), normalised over the last axis; output 3 is the sum.
template <NormKind kKind>
void import_skip_norm(Context& ctx) {
  const size_t bias_input = kKind == NormKind::layer ? 4 : 3;
  if (ctx.wants_output(1) || ctx.wants_output(2))
    ctx.unsupported("the statistics of a skip normalisation are not supported");
  const DType dtype = ctx.dtype(0);
  std::vector<Value*> operands = {ctx.input(0), ctx.input(1)};
  if (ctx.has_input(bias_input)) operands.push_back(ctx.input(bias_input));
  Norm op;
  op.kind = kKind;
  op.axis = ctx.rank(0) - 1;
  op.epsilon = ctx.attr_float("epsilon", static_cast<double>(kKind == NormKind::layer ? 1e-12F : 1e-6F));
  op.num_x = static_cast<int64_t>(operands.size());
  op.prologue = Emitter::make_program(operands, [](MapProgram& p, const std::vector<int>& in) {
    const int sum = p.binary(MapOp::add, in[0], in[1]);
    return in.size() == 3 ? p.binary(MapOp::add, sum, in[2]) : sum;
  });
  operands.push_back(parameter(ctx, 2, dtype));
  if (kKind == NormKind::layer && ctx.has_input(3)) operands.push_back(parameter(ctx, 3, dtype));
  Node* node = ctx.append(std::move(op), std::move(operands), ctx.wants_output(3) ? 2 : 1);
  ctx.set_output(0, node->output(0));
  if (ctx.wants_output(3)) ctx.set_output(3, node->output(1));
}

void import_instance_norm(Context& ctx) {
  const GroupNorm op{0, ctx.attr_float("epsilon", static_cast<double>(1e-5F))};
  ctx.set_output(0, ctx.emit(op, {ctx.input(0), ctx.input(1), ctx.input(2)}));
}

// Opset 18 has one scale per group, opset 21 one per channel.
void import_group_norm(Context& ctx) {
  const int64_t groups = ctx.required_int("num_groups");
  if (groups <= 0 || ctx.rank(0) < 2) ctx.invalid("the groups do not fit the operand");
  const Dim channels = ctx.shape(0)[1];
  const auto per_channel = [&](size_t i) {
    Value* v = parameter(ctx, i, ctx.dtype(0));
    if (ctx.opset() >= 21) return v;
    const Dim size = floor_div(channels, Dim(groups));
    return ctx.reshape(ctx.expand(ctx.reshape(v, {Dim(groups), Dim(1)}), {Dim(groups), size}), {channels});
  };
  const GroupNorm op{groups, ctx.attr_float("epsilon", static_cast<double>(1e-5F))};
  ctx.set_output(0, ctx.emit(op, {ctx.input(0), per_channel(1), per_channel(2)}));
}

// x / (bias + alpha / size * sum over neighbouring channels of x^2)^beta; the sum is an average pool over channels.
void import_lrn(Context& ctx) {
  const int64_t size = ctx.required_int("size");
  if (size <= 0 || ctx.rank(0) < 2) ctx.invalid("the window of channels does not fit the operand");
  const double alpha = ctx.attr_float("alpha", static_cast<double>(1e-4F)), beta = ctx.attr_float("beta", 0.75),
               bias = ctx.attr_float("bias", 1);
  const Shape& shape = ctx.shape(0);
  const DType dtype = ctx.dtype(0);
  Value* x = ctx.input(0);
  Value* squares = ctx.reshape(ctx.binary(MapOp::mul, x, x),
                               {shape[0], Dim(1), shape[1], product(Shape(shape.begin() + 2, shape.end()))});
  Pool pool;
  pool.kind = PoolKind::average;
  pool.kernel = {size, 1};
  pool.strides = {1, 1};
  pool.dilations = {1, 1};
  pool.pads = {Dim((size - 1) / 2), Dim(0), Dim(size / 2), Dim(0)};
  pool.count_include_pad = true;
  Value* mean = ctx.reshape(ctx.emit(std::move(pool), {squares}), shape);
  ctx.set_output(0, ctx.map({x, mean}, [&](MapProgram& p, const auto& in) {
    const int scale =
        p.binary(MapOp::add, p.constant(bias, dtype), p.binary(MapOp::mul, p.constant(alpha, dtype), in[1]));
    return p.binary(MapOp::div, in[0], p.binary(MapOp::pow, scale, p.constant(beta, dtype)));
  }));
}

// (x - mean) / (sqrt(mean(x^2) - mean^2) + 1e-9), the formula of the operator's function body.
void import_mean_variance_norm(Context& ctx) {
  std::vector<int64_t> axes = ctx.attr_ints("axes");
  if (axes.empty()) axes = {0, 2, 3};
  axes = ctx.resolve_axes(std::move(axes), ctx.rank(0));
  const DType dtype = ctx.dtype(0);
  Value* x = ctx.input(0);
  Value* mean = ctx.reduce(ReduceKind::mean, x, axes);
  Value* centred = ctx.binary(MapOp::sub, x, mean);
  Value* variance = ctx.reduce(ReduceKind::mean, ctx.binary(MapOp::mul, centred, centred), axes);
  ctx.set_output(0, ctx.map({centred, variance}, [&](MapProgram& p, const auto& in) {
    return p.binary(MapOp::div, in[0], p.binary(MapOp::add, p.unary(MapOp::sqrt, in[1]), p.constant(1e-9, dtype)));
  }));
}

// x / |x|_p along the axis; zero where the norm is.
void import_lp_norm(Context& ctx) {
  const int64_t p_norm = ctx.attr_int("p", 2);
  if (p_norm != 1 && p_norm != 2) ctx.invalid("p must be 1 or 2");
  const int64_t axis = ctx.resolve_axis(ctx.attr_int("axis", -1), ctx.rank(0));
  Value* norm = ctx.reduce(p_norm == 1 ? ReduceKind::l1 : ReduceKind::l2, ctx.input(0), {axis});
  ctx.set_output(0, ctx.map({ctx.input(0), norm}, [&](MapProgram& p, const auto& in) {
    const int zero = p.constant(0, ctx.dtype(0));
    return p.select(p.binary(MapOp::eq, in[1], zero), zero, p.binary(MapOp::div, in[0], in[1]));
  }));
}

// scale * x + bias of each channel: how the first converters prepared images.
void import_image_scaler(Context& ctx) {
  const std::vector<double> bias = ctx.attr_floats("bias");
  Value* shift = ctx.constant(
      Tensor::of<float>({static_cast<int64_t>(bias.size())}, std::vector<float>(bias.begin(), bias.end())));
  const double scale = ctx.attr_float("scale", 1);
  ctx.set_output(0, ctx.map({ctx.input(0), channel_vector(ctx, ctx.cast(shift, ctx.dtype(0)), ctx.rank(0) - 2)},
                            [&](MapProgram& p, const auto& in) {
                              const int scaled = p.binary(MapOp::mul, in[0], p.constant(scale, ctx.dtype(0)));
                              return p.binary(MapOp::add, scaled, in[1]);
                            }));
}

constexpr OpRow kRows[] = {
    {"", "BatchNormalization", 1, import_batch_norm},
    {"", "GroupNormalization", 18, import_group_norm},
    {"", "ImageScaler", 1, import_image_scaler},
    {"", "InstanceNormalization", 1, import_instance_norm},
    {"", "LRN", 1, import_lrn},
    {"", "LayerNormalization", 1, import_norm<NormKind::layer>},
    {"", "LpNormalization", 1, import_lp_norm},
    {"", "MeanVarianceNormalization", 9, import_mean_variance_norm},
    {"", "RMSNormalization", 23, import_norm<NormKind::rms>},
    {"", "SimplifiedLayerNormalization", 1, import_norm<NormKind::rms>},
    {kMicrosoft, "LayerNormalization", 1, import_norm<NormKind::layer>},
    {kMicrosoft, "SimplifiedLayerNormalization", 1, import_norm<NormKind::rms>},
    {kMicrosoft, "SkipLayerNormalization", 1, import_skip_norm<NormKind::layer>},
    {kMicrosoft, "SkipSimplifiedLayerNormalization", 1, import_skip_norm<NormKind::rms>},
};

}  // namespace

std::span<const OpRow> norm_ops() { return kRows; }

}  // namespace lathe::onnx
