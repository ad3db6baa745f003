// Ops that ONNX Runtime's graph optimiser writes: an op of the standard domain with its neighbours folded in.
#include <cmath>

#include "onnx/importers/context.h"
#include "onnx/importers/table.h"
#include "onnx/importers/window.h"

namespace lathe::onnx {
namespace {

// The activation that a fused op applies last, by its ONNX name and the list of its parameters.
int activation(Context& ctx, MapProgram& p, int x, const std::string& name, const std::vector<double>& parameters,
               DType type) {
  const auto parameter = [&](size_t i, double fallback) {
    return p.constant(i < parameters.size() ? parameters[i] : fallback, type);
  };
  const int zero = p.constant(0, type);
  if (name.empty()) return x;
  if (name == "Relu") return p.unary(MapOp::relu, x);
  if (name == "Tanh") return p.unary(MapOp::tanh, x);
  if (name == "Sigmoid") return p.unary(MapOp::sigmoid, x);
  if (name == "Gelu") return p.unary(MapOp::gelu_erf, x);
  if (name == "LeakyRelu")
    return p.select(p.binary(MapOp::ge, x, zero), x, p.binary(MapOp::mul, parameter(0, static_cast<double>(0.01F)), x));
  if (name == "Clip")
    return p.binary(MapOp::min, p.binary(MapOp::max, x, parameter(0, -INFINITY)), parameter(1, INFINITY));
  if (name == "HardSigmoid") {
    const int line =
        p.binary(MapOp::add, p.binary(MapOp::mul, parameter(0, static_cast<double>(0.2F)), x), parameter(1, 0.5));
    return p.binary(MapOp::max, zero, p.binary(MapOp::min, p.constant(1, type), line));
  }
  ctx.unsupported(fmt::format("the fused activation '{}' is not known", name),
                  "Save the model without graph optimisation");
}

// Conv, plus bias, plus another tensor, through an activation: (X, W, B?, Z?).
void import_fused_conv(Context& ctx) {
  Conv op = read_conv(ctx, ctx.shape(1));
  const DType dtype = ctx.dtype(0);
  std::vector<Value*> operands = {ctx.input(0), ctx.input(1)};
  if (ctx.has_input(2)) operands.push_back(channel_vector(ctx, ctx.input(2), ctx.rank(0) - 2));
  if (ctx.has_input(3)) operands.push_back(ctx.input(3));
  MapProgram& p = op.epilogue;
  int y = p.input(0, dtype);
  for (size_t i = 2; i < operands.size(); ++i) y = p.binary(MapOp::add, y, p.input(static_cast<int>(i) - 1, dtype));
  y = activation(ctx, p, y, ctx.attr_string("activation", ""), ctx.attr_floats("activation_params"), dtype);
  p.finish(y);
  ctx.set_output(0, ctx.emit(std::move(op), std::move(operands)));
}

// Gemm through an activation, whose parameters are attributes of their own.
void import_fused_gemm(Context& ctx) {
  MatMul op;
  op.trans_a = ctx.attr_bool("transA", false);
  op.trans_b = ctx.attr_bool("transB", false);
  const DType dtype = ctx.dtype(0);
  std::vector<Value*> operands = {ctx.input(0), ctx.input(1)};
  MapProgram& p = op.epilogue;
  int y = p.binary(MapOp::mul, p.constant(ctx.attr_float("alpha", 1), dtype), p.input(0, dtype));
  if (ctx.has_input(2)) {
    operands.push_back(ctx.input(2));
    y = p.binary(MapOp::add, y, p.binary(MapOp::mul, p.constant(ctx.attr_float("beta", 1), dtype), p.input(1, dtype)));
  }
  std::vector<double> parameters;
  for (const std::string_view name : {"activation_alpha", "activation_beta"})
    if (ctx.has_attr(name)) parameters.push_back(ctx.attr_float(name, 0));
  p.finish(activation(ctx, p, y, ctx.attr_string("activation", ""), parameters, dtype));
  ctx.set_output(0, ctx.emit(std::move(op), std::move(operands)));
}

// ---- channels last

// (X, W [M, spatial.., C / groups], B?)
void import_nhwc_conv(Context& ctx) {
  Value* weights = channels_first(ctx, ctx.input(1));
  Conv op = read_conv(ctx, weights->shape(), true);
  std::vector<Value*> operands = {channels_first(ctx, ctx.input(0)), weights};
  if (ctx.has_input(2)) {
    op.epilogue = bias_epilogue(ctx.dtype(0));
    operands.push_back(channel_vector(ctx, ctx.input(2), ctx.rank(0) - 2));
  }
  ctx.set_output(0, channels_last(ctx, ctx.emit(std::move(op), std::move(operands))));
}

void import_nhwc_max_pool(Context& ctx) {
  ctx.set_output(
      0, channels_last(ctx, ctx.emit(read_pool(ctx, PoolKind::max, true), {channels_first(ctx, ctx.input(0))})));
}

// x normalised by groups of channels, through SiLU if activation is 1: (X, scale, bias, ..)
Value* group_norm(Context& ctx, Value* x) {
  const bool last = ctx.attr_bool("channels_last", true);
  const int64_t activation = ctx.attr_int("activation", 0);
  if (activation != 0 && activation != 1) ctx.invalid("activation is neither 0 nor 1");
  const GroupNorm op{ctx.required_int("groups"), ctx.attr_float("epsilon", static_cast<double>(1e-5F))};
  if (op.groups <= 0) ctx.invalid("the groups do not fit the operand");
  const DType dtype = x->dtype();
  Value* y =
      ctx.emit(op, {last ? channels_first(ctx, x) : x, ctx.cast(ctx.input(1), dtype), ctx.cast(ctx.input(2), dtype)});
  if (activation == 1) y = ctx.unary(MapOp::silu, y);
  return last ? channels_last(ctx, y) : y;
}

void import_group_norm(Context& ctx) { ctx.set_output(0, group_norm(ctx, ctx.input(0))); }

// (X, scale, bias, skip [N, spatial.., C] or [N, C], bias of the sum?) -> the norm of the sum, the sum
void import_skip_group_norm(Context& ctx) {
  if (!ctx.attr_bool("channels_last", true)) ctx.unsupported("sums with channels first");
  Value* skip = ctx.input(3);
  if (ctx.rank(3) == 2) skip = ctx.unsqueeze(skip, {1, 2});
  Value* sum = ctx.binary(MapOp::add, ctx.input(0), skip);
  if (ctx.has_input(4)) sum = ctx.binary(MapOp::add, sum, ctx.input(4));
  ctx.set_output(0, group_norm(ctx, sum));
  if (ctx.wants_output(1)) ctx.set_output(1, sum);
}

// gelu(a b + bias), in the tanh form.
void import_gemm_gelu(Context& ctx) {
  Value* y = ctx.matmul(ctx.input(0), ctx.input(1));
  if (ctx.has_input(2)) y = ctx.binary(MapOp::add, y, ctx.input(2));
  ctx.set_output(0, ctx.unary(MapOp::gelu_tanh, y));
}

// softmax(x + bias), where the bias may lack batch axes. Rows begin at `axis`, as before opset 13.
void import_bias_softmax(Context& ctx) {
  Value* x = ctx.binary(MapOp::add, ctx.input(0), ctx.input(1));
  const int64_t axis = ctx.resolve_axis(ctx.attr_int("axis", 1), ctx.rank(0));
  if (!ctx.attr_bool("is_inner_broadcast", true) && axis > 1 && ctx.rank(0) != ctx.rank(1))
    ctx.unsupported("a bias that is broadcast in the middle");
  const Shape& shape = ctx.shape(0);
  const Dim rows = product(Shape(shape.begin(), shape.begin() + axis)),
            columns = product(Shape(shape.begin() + axis, shape.end()));
  Value* y = ctx.emit(Softmax{1, false, false}, {ctx.reshape(x, {rows, columns})});
  ctx.set_output(0, ctx.reshape(y, shape));
}

// The sum of all operands: (X, bias, skip).
void import_bias_add(Context& ctx) {
  ctx.set_output(0, ctx.binary(MapOp::add, ctx.binary(MapOp::add, ctx.input(0), ctx.input(1)), ctx.input(2)));
}

constexpr OpRow kRows[] = {
    {kMicrosoft, "BiasAdd", 1, import_bias_add},
    {kMicrosoft, "BiasSoftmax", 1, import_bias_softmax},
    {kMicrosoft, "FusedConv", 1, import_fused_conv},
    {kMicrosoft, "FusedGemm", 1, import_fused_gemm},
    {kMicrosoft, "GemmFastGelu", 1, import_gemm_gelu},
    {kMicrosoft, "GroupNorm", 1, import_group_norm},
    {kMicrosoft, "NhwcConv", 1, import_nhwc_conv},
    {kMicrosoft, "NhwcMaxPool", 1, import_nhwc_max_pool},
    {kMicrosoft, "SkipGroupNorm", 1, import_skip_group_norm},
};

}  // namespace

std::span<const OpRow> fused_ops() { return kRows; }

}  // namespace lathe::onnx
