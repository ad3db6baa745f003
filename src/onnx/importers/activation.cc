// Activation functions, Clip and Dropout. Composite ones are spelled out as programs, in the formulas of the ONNX
// operator reference.

#include "onnx/importers/context.h"
#include "onnx/importers/random.h"
#include "onnx/importers/table.h"
#include "onnx/importers/window.h"

namespace lathe::onnx {
namespace {

// Writes formulas over one operand; numbers take the operand's type.
struct Formula {
  MapProgram& p;
  DType type;

  int number(double value) const { return p.constant(value, type); }
  int add(int a, int b) const { return p.binary(MapOp::add, a, b); }
  int sub(int a, int b) const { return p.binary(MapOp::sub, a, b); }
  int mul(int a, int b) const { return p.binary(MapOp::mul, a, b); }
  int div(int a, int b) const { return p.binary(MapOp::div, a, b); }
  int max(int a, int b) const { return p.binary(MapOp::max, a, b); }
  int min(int a, int b) const { return p.binary(MapOp::min, a, b); }
  // x >= 0 ? a : b and x > limit ? a : b
  int if_not_negative(int x, int a, int b) const { return p.select(p.binary(MapOp::ge, x, number(0)), a, b); }
  int if_greater(int x, double limit, int a, int b) const {
    return p.select(p.binary(MapOp::gt, x, number(limit)), a, b);
  }
};

template <class F>
void import_formula(Context& ctx, F&& formula) {
  ctx.set_output(0, ctx.map({ctx.input(0)}, [&](MapProgram& p, const auto& in) {
    return formula(Formula{p, ctx.dtype(0)}, in[0]);
  }));
}

template <MapOp kOp>
void import_simple(Context& ctx) {
  ctx.set_output(0, ctx.unary(kOp, ctx.input(0)));
}

void import_leaky_relu(Context& ctx) {
  const double alpha = ctx.attr_float("alpha", static_cast<double>(0.01F));
  import_formula(ctx, [&](const Formula& f, int x) { return f.if_not_negative(x, x, f.mul(f.number(alpha), x)); });
}

// Before opset 7 a slope that is a vector holds one number for each channel.
void import_prelu(Context& ctx) {
  Value* slope = ctx.input(1);
  if (ctx.opset() < 7 && ctx.rank(1) == 1 && ctx.rank(0) > 1) slope = channel_vector(ctx, slope, ctx.rank(0) - 2);
  ctx.set_output(0, ctx.map({ctx.input(0), slope}, [&](MapProgram& p, const auto& in) {
    const int zero = p.constant_int(0, ctx.dtype(0));
    return p.select(p.binary(MapOp::lt, in[0], zero), p.binary(MapOp::mul, in[1], in[0]), in[0]);
  }));
}

void import_elu(Context& ctx) {
  const double alpha = ctx.attr_float("alpha", 1);
  import_formula(ctx, [&](const Formula& f, int x) {
    return f.if_not_negative(x, x, f.mul(f.number(alpha), f.p.unary(MapOp::expm1, x)));
  });
}

void import_selu(Context& ctx) {
  const bool rounded = ctx.opset() < 6;  // the defaults, then
  const double alpha = ctx.attr_float("alpha", static_cast<double>(rounded ? 1.6732F : 1.67326319217681884765625F));
  const double gamma = ctx.attr_float("gamma", static_cast<double>(rounded ? 1.0507F : 1.05070102214813232421875F));
  import_formula(ctx, [&](const Formula& f, int x) {
    return f.mul(f.number(gamma), f.if_greater(x, 0, x, f.mul(f.number(alpha), f.p.unary(MapOp::expm1, x))));
  });
}

void import_celu(Context& ctx) {
  const double alpha = ctx.attr_float("alpha", 1);
  import_formula(ctx, [&](const Formula& f, int x) {
    const int negative = f.mul(f.number(alpha), f.p.unary(MapOp::expm1, f.div(x, f.number(alpha))));
    return f.add(f.max(f.number(0), x), f.min(f.number(0), negative));
  });
}

void import_hard_sigmoid(Context& ctx) {
  const double alpha = ctx.attr_float("alpha", static_cast<double>(0.2F)), beta = ctx.attr_float("beta", 0.5);
  import_formula(ctx, [&](const Formula& f, int x) {
    const int line = f.add(f.mul(f.number(alpha), x), f.number(beta));
    return f.max(f.number(0), f.min(f.number(1), line));
  });
}

void import_softsign(Context& ctx) {
  import_formula(ctx, [](const Formula& f, int x) { return f.div(x, f.add(f.number(1), f.p.unary(MapOp::abs, x))); });
}

void import_thresholded_relu(Context& ctx) {
  const double alpha = ctx.attr_float("alpha", 1);
  import_formula(ctx, [&](const Formula& f, int x) { return f.if_greater(x, alpha, x, f.number(0)); });
}

// Operators of the first models, which no version of the standard lists: alpha * x + beta and what is made of it.
template <MapOp kOp>
void import_scaled(Context& ctx) {
  const double alpha = ctx.attr_float("alpha", 1), beta = ctx.attr_float("beta", ctx.op_type() == "Affine" ? 0 : 1);
  import_formula(ctx, [&](const Formula& f, int x) {
    if (kOp == MapOp::add) return f.add(f.mul(f.number(alpha), x), f.number(beta));
    return f.mul(f.number(alpha), f.p.unary(kOp, f.mul(f.number(beta), x)));
  });
}

// Integers by the formula for real numbers.
void import_shrink(Context& ctx) {
  const double lambd = ctx.attr_float("lambd", 0.5), bias = ctx.attr_float("bias", 0);
  const DType dtype = ctx.dtype(0), compute = is_float(dtype) ? dtype : DType::f64;
  ctx.set_output(0, ctx.map({ctx.input(0)}, [&](MapProgram& p, const auto& in) {
    const Formula f{p, compute};
    const int x = p.cast(in[0], compute), below = p.binary(MapOp::lt, x, f.number(-lambd));
    const int lower = p.select(below, f.add(x, f.number(bias)), f.number(0));
    return p.cast(f.if_greater(x, lambd, f.sub(x, f.number(bias)), lower), dtype);
  }));
}

void import_gelu(Context& ctx) {
  const std::string mode = ctx.attr_string("approximate", "none");
  if (mode != "none" && mode != "tanh") ctx.invalid(fmt::format("there is no approximation '{}'", mode));
  ctx.set_output(0, ctx.unary(mode == "tanh" ? MapOp::gelu_tanh : MapOp::gelu_erf, ctx.input(0)));
}

// x * sigmoid(alpha * x)
void import_swish(Context& ctx) {
  const double alpha = ctx.attr_float("alpha", ctx.op_type() == "QuickGelu" ? static_cast<double>(1.702F) : 1);
  if (alpha == 1) return import_simple<MapOp::silu>(ctx);
  import_formula(
      ctx, [&](const Formula& f, int x) { return f.mul(x, f.p.unary(MapOp::sigmoid, f.mul(f.number(alpha), x))); });
}

// gelu(x + bias); FastGelu's bias is optional and its gelu the tanh form.
void import_bias_gelu(Context& ctx) {
  const MapOp gelu = ctx.op_type() == "FastGelu" ? MapOp::gelu_tanh : MapOp::gelu_erf;
  if (!ctx.has_input(1)) return ctx.set_output(0, ctx.unary(gelu, ctx.input(0)));
  ctx.set_output(0, ctx.map({ctx.input(0), ctx.input(1)}, [&](MapProgram& p, const auto& in) {
    return p.unary(gelu, p.binary(MapOp::add, in[0], in[1]));
  }));
}

// The left half of x + bias times gelu of the right half.
void import_bias_split_gelu(Context& ctx) {
  const int64_t axis = ctx.rank(0) - 1;
  Value* x = ctx.binary(MapOp::add, ctx.input(0), ctx.input(1));
  const Dim half = floor_div(x->shape().back(), Dim(2));
  Value *left = ctx.slice(x, axis, 0, half), *right = ctx.slice(x, axis, half, half);
  ctx.set_output(0, ctx.binary(MapOp::mul, left, ctx.unary(MapOp::gelu_erf, right)));
}

// min(max(x, low), high); either bound may be absent.
void import_clip(Context& ctx) {
  const bool attributes = ctx.opset() < 11;
  std::vector<Value*> operands = {ctx.input(0)};
  const auto bound = [&](size_t i, std::string_view name) {
    if (attributes ? !ctx.has_attr(name) : !ctx.has_input(i)) return false;
    operands.push_back(attributes ? ctx.scalar(ctx.attr_float(name, 0), ctx.dtype(0)) : ctx.reshape(ctx.input(i), {}));
    return true;
  };
  const bool low = bound(1, "min"), high = bound(2, "max");
  if (!low && !high) return ctx.forward(0);
  ctx.set_output(0, ctx.map(operands, [&](MapProgram& p, const auto& in) {
    int y = in[0];
    if (low) y = p.binary(MapOp::max, y, in[1]);
    if (high) y = p.binary(MapOp::min, y, in.back());
    return y;
  }));
}

// x / (1 - ratio) where a random number is not below the ratio, else 0.
void drop(Context& ctx, double ratio) {
  const DType dtype = ctx.dtype(0);
  const Shape& shape = ctx.shape(0);
  const uint32_t seed = ctx.has_attr("seed") ? static_cast<uint32_t>(ctx.attr_int("seed", 0)) : own_seed(ctx);
  Value* mask = ctx.map(
      {},
      [&](MapProgram& p, const auto&) {
        return p.binary(MapOp::ge, uniform_number(p, shape, seed), p.constant(ratio, DType::f32));
      },
      shape);
  ctx.set_output(0, ctx.map({ctx.input(0), mask}, [&](MapProgram& p, const auto& in) {
    const int scaled = p.binary(MapOp::mul, in[0], p.constant(ratio < 1 ? 1 / (1 - ratio) : 0, dtype));
    return p.select(in[1], scaled, p.constant(0, dtype));
  }));
  ctx.set_output(1, mask);
}

// At inference the identity; the mask, where asked for, keeps everything.
void import_dropout(Context& ctx) {
  if (ctx.has_input(2)) {
    const auto training = ctx.constant(2);
    if (!training || training->elements() != 1) ctx.unsupported("whether dropout trains must be a constant");
    const double ratio = ctx.constant_number(1, 0.5);
    if (training->read_int(0) != 0 && ratio != 0) return drop(ctx, ratio);
  }
  ctx.forward(0);
  if (ctx.wants_output(1)) ctx.set_output(1, ctx.expand(ctx.constant(Tensor::scalar(true)), ctx.shape(0)));
}

// (x, bias, another summand?, ratio?, training?) -> the sum, mask
void import_bias_dropout(Context& ctx) {
  if (ctx.has_input(4) && ctx.integers(4).at(0) != 0) ctx.unsupported("dropout in training with a bias");
  Value* y = ctx.binary(MapOp::add, ctx.input(0), ctx.input(1));
  if (ctx.has_input(2)) y = ctx.binary(MapOp::add, y, ctx.input(2));
  ctx.set_output(0, y);
  if (ctx.wants_output(1)) ctx.set_output(1, ctx.expand(ctx.constant(Tensor::scalar(true)), ctx.shape(0)));
}

constexpr OpRow kRows[] = {
    {"", "Affine", 1, import_scaled<MapOp::add>},
    {"", "Celu", 12, import_celu},
    {"", "Clip", 1, import_clip},
    {"", "Dropout", 1, import_dropout},
    {"", "Elu", 1, import_elu},
    {"", "Gelu", 20, import_gelu},
    {"", "HardSigmoid", 1, import_hard_sigmoid},
    {"", "HardSwish", 14, import_simple<MapOp::hard_swish>},
    {"", "LeakyRelu", 1, import_leaky_relu},
    {"", "Mish", 18, import_simple<MapOp::mish>},
    {"", "PRelu", 1, import_prelu},
    {"", "ParametricSoftplus", 1, import_scaled<MapOp::softplus>},
    {"", "Relu", 1, import_simple<MapOp::relu>},
    {"", "ScaledTanh", 1, import_scaled<MapOp::tanh>},
    {"", "Selu", 1, import_selu},
    {"", "Shrink", 9, import_shrink},
    {"", "Sigmoid", 1, import_simple<MapOp::sigmoid>},
    {"", "Softplus", 1, import_simple<MapOp::softplus>},
    {"", "Softsign", 1, import_softsign},
    {"", "Swish", 24, import_swish},
    {"", "Tanh", 1, import_simple<MapOp::tanh>},
    {"", "ThresholdedRelu", 1, import_thresholded_relu},
    {kMicrosoft, "BiasDropout", 1, import_bias_dropout},
    {kMicrosoft, "BiasGelu", 1, import_bias_gelu},
    {kMicrosoft, "BiasSplitGelu", 1, import_bias_split_gelu},
    {kMicrosoft, "FastGelu", 1, import_bias_gelu},
    {kMicrosoft, "Gelu", 1, import_simple<MapOp::gelu_erf>},
    {kMicrosoft, "QuickGelu", 1, import_swish},
};

}  // namespace

std::span<const OpRow> activation_ops() { return kRows; }

}  // namespace lathe::onnx
