#include "onnx/importers/random.h"

#include <bit>
#include <numbers>

#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

// An integer mix with full avalanche: xor-shifts and odd multipliers, as in the finalisers of hash functions.
int mixed(MapProgram& p, int x) {
  const auto number = [&](int64_t v) { return p.constant_int(v, DType::u32); };
  const auto fold = [&](int v, int64_t bits) {
    return p.binary(MapOp::bit_xor, v, p.binary(MapOp::shift_right, v, number(bits)));
  };
  x = p.binary(MapOp::mul, fold(x, 16), number(0x7feb352d));
  x = p.binary(MapOp::mul, fold(x, 15), number(0x846ca68b));
  return fold(x, 16);
}

int flat_index(MapProgram& p, const Shape& shape) {
  int index = p.constant_int(0, DType::i64);
  Dim stride(1);
  for (size_t k = 1; k <= shape.size(); ++k) {
    index = p.binary(MapOp::add, index, p.binary(MapOp::mul, p.iota(-static_cast<int>(k)), p.dim(stride)));
    stride = stride * shape[shape.size() - k];
  }
  return index;
}

// By the transform of Box and Muller (1958).
int normal_number(MapProgram& p, const Shape& shape, uint32_t seed) {
  const auto real = [&](double v) { return p.constant(v, DType::f32); };
  const int above_zero = p.binary(MapOp::sub, real(1), uniform_number(p, shape, seed));
  const int radius = p.unary(MapOp::sqrt, p.binary(MapOp::mul, real(-2), p.unary(MapOp::log, above_zero)));
  const int turn = p.binary(MapOp::mul, real(2 * std::numbers::pi), uniform_number(p, shape, seed ^ 0x9e3779b9));
  return p.binary(MapOp::mul, radius, p.unary(MapOp::cos, turn));
}

uint32_t seed_of(const Context& ctx) {
  if (!ctx.has_attr("seed")) return own_seed(ctx);
  return std::bit_cast<uint32_t>(static_cast<float>(ctx.attr_float("seed", 0)));
}

// scale * number + shift, of the type that the node asks for.
template <class Number>
void set_numbers(Context& ctx, const Shape& shape, DType dtype, double scale, double shift, Number&& number) {
  const uint32_t seed = seed_of(ctx);
  ctx.set_output(0, ctx.map(
                        {},
                        [&](MapProgram& p, const auto&) {
                          const int scaled =
                              p.binary(MapOp::mul, number(p, shape, seed), p.constant(scale, DType::f32));
                          return p.cast(p.binary(MapOp::add, scaled, p.constant(shift, DType::f32)), dtype);
                        },
                        shape));
}

// The -Like ops take the shape of an operand, and its type unless an attribute names another.
template <bool kLike>
Shape wanted_shape(Context& ctx) {
  if (kLike) return ctx.shape(0);
  const std::vector<int64_t> sizes = ctx.attr_ints("shape");
  return Shape(sizes.begin(), sizes.end());
}

template <bool kLike>
DType wanted_dtype(Context& ctx) {
  const DType dtype = ctx.attr_dtype("dtype", kLike ? ctx.dtype(0) : DType::f32);
  if (!is_float(dtype)) ctx.unsupported("random numbers of an integer type are not supported");
  return dtype;
}

template <bool kLike>
void import_uniform(Context& ctx) {
  const double low = ctx.attr_float("low", 0), high = ctx.attr_float("high", 1);
  set_numbers(ctx, wanted_shape<kLike>(ctx), wanted_dtype<kLike>(ctx), high - low, low, uniform_number);
}

template <bool kLike>
void import_normal(Context& ctx) {
  set_numbers(ctx, wanted_shape<kLike>(ctx), wanted_dtype<kLike>(ctx), ctx.attr_float("scale", 1),
              ctx.attr_float("mean", 0), normal_number);
}

// 1 with the probability that the operand holds.
void import_bernoulli(Context& ctx) {
  const DType dtype = ctx.attr_dtype("dtype", ctx.dtype(0));
  const uint32_t seed = seed_of(ctx);
  ctx.set_output(0, ctx.map({ctx.input(0)}, [&](MapProgram& p, const auto& in) {
    const int number = uniform_number(p, ctx.shape(0), seed);
    return p.cast(p.binary(MapOp::lt, number, p.cast(in[0], DType::f32)), dtype);
  }));
}

// The class in whose share of the distribution a uniform number falls: as many as have their end at or below it.
void import_multinomial(Context& ctx) {
  const Dim samples = ctx.attr_int("sample_size", 1);
  if (ctx.rank(0) != 2) ctx.invalid("the operand must be a matrix");
  const Dim batch = ctx.shape(0)[0], classes = ctx.shape(0)[1];
  Value* shares = ctx.emit(Softmax{1, false, false}, {ctx.cast(ctx.input(0), DType::f32)});
  Cumulative ends;
  ends.axis = 1;
  Value* bounds = ctx.reshape(ctx.emit(ends, {shares}), {batch, Dim(1), classes});
  const Shape shape = {batch, samples, Dim(1)};
  const uint32_t seed = seed_of(ctx);
  Value* numbers = ctx.map(
      {}, [&](MapProgram& p, const auto&) { return uniform_number(p, shape, seed); }, shape);
  Value* below = ctx.map({bounds, numbers}, [](MapProgram& p, const auto& in) {
    return p.cast(p.binary(MapOp::le, in[0], in[1]), DType::i64);
  });
  Value* count = ctx.reduce(ReduceKind::sum, below, {2}, false);
  const DType dtype = ctx.attr_dtype("dtype", DType::i32);
  ctx.set_output(0, ctx.map({count}, [&](MapProgram& p, const auto& in) {  // rounding may leave the last end below 1
    return p.cast(p.binary(MapOp::min, in[0], p.dim(classes - Dim(1))), dtype);
  }));
}

constexpr OpRow kRows[] = {
    {"", "Bernoulli", 15, import_bernoulli},         {"", "Multinomial", 7, import_multinomial},
    {"", "RandomNormal", 1, import_normal<false>},   {"", "RandomNormalLike", 1, import_normal<true>},
    {"", "RandomUniform", 1, import_uniform<false>}, {"", "RandomUniformLike", 1, import_uniform<true>},
};

}  // namespace

uint32_t own_seed(const Context& ctx) { return static_cast<uint32_t>(ctx.graph().num_nodes()) + 1; }

int uniform_number(MapProgram& p, const Shape& shape, uint32_t seed) {
  constexpr int kUnusedBits = 8;  // a float holds 24
  const int position = p.cast(flat_index(p, shape), DType::u32);
  const int start = mixed(p, p.constant_int(static_cast<int64_t>(seed), DType::u32));
  const int bits = mixed(p, p.binary(MapOp::add, mixed(p, position), start));
  const int kept = p.binary(MapOp::shift_right, bits, p.constant_int(kUnusedBits, DType::u32));
  return p.binary(MapOp::mul, p.cast(kept, DType::f32), p.constant(0x1p-24, DType::f32));
}

std::span<const OpRow> random_ops() { return kRows; }

}  // namespace lathe::onnx
