// Elementwise arithmetic, comparison, logic, bits, casts and selection: each becomes one map.

#include "onnx/importers/context.h"
#include "onnx/importers/strings.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

template <MapOp kOp>
void import_unary(Context& ctx) {
  ctx.set_output(0, ctx.unary(kOp, ctx.input(0)));
}

// Before opset 7 the second operand broadcasts by attributes: its axes are those of the first from `axis` on.
Value* second_operand(Context& ctx) {
  Value* b = ctx.input(1);
  if (ctx.opset() >= 7 || !ctx.attr_bool("broadcast", false) || !ctx.has_attr("axis")) return b;
  const int64_t first = ctx.resolve_axis(ctx.attr_int("axis", 0), ctx.rank(0) + 1);
  if (first + ctx.rank(1) > ctx.rank(0)) ctx.invalid("the second operand reaches beyond the axes of the first");
  Shape shape = b->shape();
  shape.resize(static_cast<size_t>(ctx.rank(0) - first), Dim(1));
  return ctx.reshape(b, std::move(shape));
}

template <MapOp kOp>
void import_binary(Context& ctx) {
  ctx.set_output(0, ctx.binary(kOp, ctx.input(0), second_operand(ctx)));
}

// Max, Min, Sum take any number of operands; of one, they are a copy.
template <MapOp kOp>
void import_variadic(Context& ctx) {
  Value* result = ctx.input(0);
  for (size_t i = 1; i < ctx.num_inputs(); ++i) result = ctx.binary(kOp, result, ctx.input(i));
  ctx.set_output(0, result);
}

void import_mean(Context& ctx) {
  const auto count = static_cast<double>(ctx.num_inputs());
  ctx.set_output(0, ctx.map(ctx.all_inputs(), [&](MapProgram& p, const std::vector<int>& in) {
    int sum = in[0];
    for (size_t i = 1; i < in.size(); ++i) sum = p.binary(MapOp::add, sum, in[i]);
    return p.binary(MapOp::div, sum, p.constant(count, ctx.dtype(0)));
  }));
}

void import_mod(Context& ctx) {
  const bool c_sign = ctx.attr_bool("fmod", false) || is_float(ctx.dtype(0));
  ctx.set_output(0, ctx.binary(c_sign ? MapOp::trunc_mod : MapOp::floor_mod, ctx.input(0), ctx.input(1)));
}

// The result has the base's type; types may differ, and then the wider meaning (a float one) is computed.
void import_pow(Context& ctx) {
  const DType base = ctx.dtype(0), exponent = ctx.dtype(1);
  const DType compute = is_integer(base) && is_float(exponent) ? DType::f64 : base;
  ctx.set_output(0, ctx.map({ctx.input(0), second_operand(ctx)}, [&](MapProgram& p, const auto& in) {
    return p.cast(p.binary(MapOp::pow, p.cast(in[0], compute), p.cast(in[1], compute)), base);
  }));
}

void import_bit_shift(Context& ctx) {
  const std::string direction = ctx.attr_string("direction", "");
  if (direction != "LEFT" && direction != "RIGHT") ctx.invalid("direction must be LEFT or RIGHT");
  ctx.set_output(0,
                 ctx.binary(direction == "LEFT" ? MapOp::shift_left : MapOp::shift_right, ctx.input(0), ctx.input(1)));
}

void import_is_inf(Context& ctx) {
  const bool positive = ctx.attr_bool("detect_positive", true), negative = ctx.attr_bool("detect_negative", true);
  ctx.set_output(0, ctx.map({ctx.input(0)}, [&](MapProgram& p, const auto& in) {
    const int zero = p.constant(0, ctx.dtype(0)), inf = p.unary(MapOp::is_inf, in[0]);
    if (positive && negative) return inf;
    if (!positive && !negative) return p.constant_int(0, DType::boolean);
    return p.binary(MapOp::logical_and, inf, p.binary(positive ? MapOp::gt : MapOp::lt, in[0], zero));
  }));
}

void import_where(Context& ctx) {
  ctx.set_output(0, ctx.map({ctx.input(0), ctx.input(1), ctx.input(2)},
                            [](MapProgram& p, const auto& in) { return p.select(in[0], in[1], in[2]); }));
}

bool is_small_float(DType t) { return is_float(t) && bit_width(t) <= 8; }

// Casts to f8e8m0 round up; the number that the rounding mode asks for is a power of two, which any mode keeps.
int rounded_to_power(MapProgram& p, int x, const std::string& mode) {
  x = p.cast(x, DType::f32);
  if (mode == "up") return x;
  const int above = p.cast(p.push({MapOp::cast_sat, DType::f8e8m0, {x, 0, 0}}), DType::f32);
  const int below = p.binary(MapOp::mul, above, p.constant(0.5, DType::f32));
  const int limit = mode == "down" ? above : p.binary(MapOp::mul, above, p.constant(0.75, DType::f32));
  return p.select(p.binary(MapOp::lt, x, limit), below, above);
}

// `saturate` matters for the 8-bit floats only; anything that is not zero is true.
void cast_to(Context& ctx, DType to) {
  const DType from = ctx.dtype(0);
  if (from == to) return ctx.forward(0);
  if (from == DType::string || to == DType::string)
    return ctx.set_output(0, converted(ctx, ctx.input(0), to, NumberFormat::general));
  ctx.set_output(0, ctx.map({ctx.input(0)}, [&](MapProgram& p, const auto& in) {
    if (to == DType::boolean) return p.binary(MapOp::ne, in[0], p.constant_int(0, from));
    const int x = to == DType::f8e8m0 ? rounded_to_power(p, in[0], ctx.attr_string("round_mode", "up")) : in[0];
    if (is_small_float(to) && ctx.attr_bool("saturate", true)) return p.push({MapOp::cast_sat, to, {x, 0, 0}});
    return p.cast(x, to);
  }));
}

// Before opset 6 types have names, those of TensorProto.DataType.
DType type_of_name(Context& ctx, std::string_view name) {
  constexpr std::pair<std::string_view, DType> kNames[] = {
      {"FLOAT", DType::f32},   {"UINT8", DType::u8},   {"INT8", DType::i8},    {"UINT16", DType::u16},
      {"INT16", DType::i16},   {"INT32", DType::i32},  {"INT64", DType::i64},  {"BOOL", DType::boolean},
      {"FLOAT16", DType::f16}, {"DOUBLE", DType::f64}, {"UINT32", DType::u32}, {"UINT64", DType::u64}};
  for (const auto& [known, dtype] : kNames)
    if (known == name) return dtype;
  ctx.invalid(fmt::format("there is no element type '{}'", name));
}

void import_cast(Context& ctx) {
  if (ctx.opset() < 6) return cast_to(ctx, type_of_name(ctx, ctx.attr_string("to", "")));
  ctx.required_int("to");
  cast_to(ctx, ctx.attr_dtype("to", DType::f32));
}

void import_cast_like(Context& ctx) { cast_to(ctx, ctx.dtype(1)); }

void import_bitcast(Context& ctx) {
  Extern op;
  op.kernel = "bit_cast";
  op.integers = {static_cast<int64_t>(ctx.attr_dtype("to", ctx.dtype(0)))};
  ctx.set_output(0, ctx.emit(std::move(op), {ctx.input(0)}));
}

constexpr OpRow kRows[] = {
    {"", "Abs", 1, import_unary<MapOp::abs>},
    {"", "Acos", 7, import_unary<MapOp::acos>},
    {"", "Acosh", 9, import_unary<MapOp::acosh>},
    {"", "Add", 1, import_binary<MapOp::add>},
    {"", "And", 1, import_binary<MapOp::logical_and>},
    {"", "Asin", 7, import_unary<MapOp::asin>},
    {"", "Asinh", 9, import_unary<MapOp::asinh>},
    {"", "Atan", 7, import_unary<MapOp::atan>},
    {"", "Atanh", 9, import_unary<MapOp::atanh>},
    {"", "BitCast", 26, import_bitcast},
    {"", "BitShift", 11, import_bit_shift},
    {"", "BitwiseAnd", 18, import_binary<MapOp::bit_and>},
    {"", "BitwiseNot", 18, import_unary<MapOp::bit_not>},
    {"", "BitwiseOr", 18, import_binary<MapOp::bit_or>},
    {"", "BitwiseXor", 18, import_binary<MapOp::bit_xor>},
    {"", "Cast", 1, import_cast},
    {"", "CastLike", 15, import_cast_like},
    {"", "Ceil", 1, import_unary<MapOp::ceil>},
    {"", "Cos", 7, import_unary<MapOp::cos>},
    {"", "Cosh", 9, import_unary<MapOp::cosh>},
    {"", "Div", 1, import_binary<MapOp::div>},
    {"", "Equal", 1, import_binary<MapOp::eq>},
    {"", "Erf", 9, import_unary<MapOp::erf>},
    {"", "Exp", 1, import_unary<MapOp::exp>},
    {"", "Floor", 1, import_unary<MapOp::floor>},
    {"", "Greater", 1, import_binary<MapOp::gt>},
    {"", "GreaterOrEqual", 12, import_binary<MapOp::ge>},
    {"", "IsInf", 10, import_is_inf},
    {"", "IsNaN", 9, import_unary<MapOp::is_nan>},
    {"", "Less", 1, import_binary<MapOp::lt>},
    {"", "LessOrEqual", 12, import_binary<MapOp::le>},
    {"", "Log", 1, import_unary<MapOp::log>},
    {"", "Max", 1, import_variadic<MapOp::max>},
    {"", "Mean", 1, import_mean},
    {"", "Min", 1, import_variadic<MapOp::min>},
    {"", "Mod", 10, import_mod},
    {"", "Mul", 1, import_binary<MapOp::mul>},
    {"", "Neg", 1, import_unary<MapOp::neg>},
    {"", "Not", 1, import_unary<MapOp::logical_not>},
    {"", "Or", 1, import_binary<MapOp::logical_or>},
    {"", "Pow", 1, import_pow},
    {"", "Reciprocal", 1, import_unary<MapOp::reciprocal>},
    {"", "Round", 11, import_unary<MapOp::round>},
    {"", "Sign", 9, import_unary<MapOp::sign>},
    {"", "Sin", 7, import_unary<MapOp::sin>},
    {"", "Sinh", 9, import_unary<MapOp::sinh>},
    {"", "Sqrt", 1, import_unary<MapOp::sqrt>},
    {"", "Sub", 1, import_binary<MapOp::sub>},
    {"", "Sum", 1, import_variadic<MapOp::add>},
    {"", "Tan", 7, import_unary<MapOp::tan>},
    {"", "Where", 9, import_where},
    {"", "Xor", 1, import_binary<MapOp::logical_xor>},
};

}  // namespace

std::span<const OpRow> math_ops() { return kRows; }

}  // namespace lathe::onnx
