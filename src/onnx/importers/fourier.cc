// Discrete Fourier transforms, as products with the matrix of the transform: of the lengths that models use (a window
// of speech) a matrix product is faster than anything cleverer would be, and every backend has it.
#include <cmath>
#include <numbers>
#include <numeric>

#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

// A transform of `inputs` numbers of `input_parts` (1: real, 2: complex) to `outputs` of `output_parts`, which turns
// `length` times in a full circle.
struct Transform {
  Dim length, inputs, outputs;
  int64_t input_parts = 1, output_parts = 2;
  bool inverse = false;
  bool mirrored = false;  // the inputs stand for their conjugates as well: the inverse of a one-sided spectrum
};

// [inputs * input parts, outputs * output parts]. With e^(i a) = cos a + i sin a, real part to real part and imaginary
// to imaginary are cos, real to imaginary sin, imaginary to real -sin.
Value* transform_matrix(Context& ctx, const Transform& t, DType dtype) {
  const Shape shape = {t.inputs, Dim(t.input_parts), t.outputs, Dim(t.output_parts)};
  Value* matrix = ctx.map(
      {},
      [&](MapProgram& p, const auto&) {
        const auto real = [&](double v) { return p.constant(v, DType::f64); };
        const int input = p.iota(-4), from = p.iota(-3), output = p.iota(-2), to = p.iota(-1), length = p.dim(t.length);
        const int turns = p.binary(MapOp::floor_mod, p.binary(MapOp::mul, input, output), length);
        const int scale = p.cast(length, DType::f64);
        const int angle = p.binary(
            MapOp::div, p.binary(MapOp::mul, p.cast(turns, DType::f64), real((t.inverse ? 2 : -2) * std::numbers::pi)),
            scale);
        const int sine = p.unary(MapOp::sin, angle);
        const int crossed = p.select(p.binary(MapOp::lt, from, to), sine, p.unary(MapOp::neg, sine));
        int entry = p.select(p.binary(MapOp::eq, from, to), p.unary(MapOp::cos, angle), crossed);
        if (t.inverse) entry = p.binary(MapOp::div, entry, scale);
        if (t.mirrored) {  // but for the first one and the middle of an even length, which are their own mirror images
          const int twice = p.binary(MapOp::mul, input, p.constant_int(2, DType::i64));
          const int own = p.binary(MapOp::eq, p.binary(MapOp::floor_mod, twice, length), p.constant_int(0, DType::i64));
          entry = p.binary(MapOp::mul, entry, p.select(own, real(1), real(2)));
        }
        return p.cast(entry, dtype);
      },
      shape);
  return ctx.reshape(matrix, {t.inputs * Dim(t.input_parts), t.outputs * Dim(t.output_parts)});
}

int64_t parts_of(Context& ctx, const Dim& size) {
  if (size == Dim(1) || size == Dim(2)) return size.value();
  ctx.unsupported(
      fmt::format("the last axis must hold 1 (real) or 2 (complex) numbers, it holds {}", size.to_string()));
}

// x cut, or filled up with zeros, to `size` along the axis.
Value* resized(Context& ctx, Value* x, size_t axis, const Dim& size) {
  const Dim given = x->shape()[axis], kept = min(given, size);
  if (!(kept == given)) x = ctx.slice(x, static_cast<int64_t>(axis), 0, kept);
  if (kept == size) return x;
  Pad pad{PadMode::constant, Shape(x->shape().size(), Dim(0)), Shape(x->shape().size(), Dim(0))};
  pad.ends[axis] = size - kept;
  return ctx.emit(std::move(pad), {x});
}

// Version 17 has the axis as an attribute, counted without a negative default.
size_t dft_axis(Context& ctx) {
  const int64_t given = ctx.opset() < 20 ? ctx.attr_int("axis", 1) : ctx.has_input(2) ? ctx.integers(2).at(0) : -2;
  const int64_t axis = ctx.resolve_axis(given, ctx.rank(0));
  if (axis + 1 == ctx.rank(0)) ctx.invalid("the last axis holds the parts of complex numbers");
  return static_cast<size_t>(axis);
}

Transform dft(Context& ctx, size_t axis) {
  const bool one_sided = ctx.attr_bool("onesided", false);
  Transform t;
  t.inverse = ctx.attr_bool("inverse", false);
  t.mirrored = t.inverse && one_sided;
  t.input_parts = parts_of(ctx, ctx.shape(0).back());
  t.output_parts = t.mirrored ? 1 : 2;
  const Dim& given = ctx.shape(0)[axis];
  t.length = ctx.has_input(1) ? ctx.sizes(1).at(0) : t.mirrored ? (given - Dim(1)) * Dim(2) : given;
  const Dim half = floor_div(t.length, Dim(2)) + Dim(1);
  t.inputs = t.mirrored ? half : t.length;
  t.outputs = one_sided && !t.inverse ? half : t.length;
  return t;
}

void import_dft(Context& ctx) {
  const size_t axis = dft_axis(ctx), rank = static_cast<size_t>(ctx.rank(0));
  const Transform t = dft(ctx, axis);
  std::vector<int64_t> perm(rank);  // swaps the axis with the last one before the parts
  std::iota(perm.begin(), perm.end(), 0);
  std::swap(perm[axis], perm[rank - 2]);
  Value* x = ctx.transpose(resized(ctx, ctx.input(0), axis, t.inputs), perm);
  const Dim rows = product(Shape(x->shape().begin(), x->shape().end() - 2));
  Shape shape(x->shape().begin(), x->shape().end() - 2);
  shape.insert(shape.end(), {t.outputs, Dim(t.output_parts)});
  Value* y = ctx.matmul(ctx.reshape(x, {rows, t.inputs * Dim(t.input_parts)}), transform_matrix(ctx, t, x->dtype()));
  ctx.set_output(0, ctx.transpose(ctx.reshape(y, shape), perm));
}

// The transforms of overlapping frames are a convolution whose filters are the columns of the matrix, under the window.
void import_stft(Context& ctx) {
  const int64_t step = ctx.integers(1).at(0);
  if (step < 1) ctx.invalid("the step between frames is not positive");
  if (!ctx.has_input(2) && !ctx.has_input(3)) ctx.invalid("neither a window nor a frame length is given");
  Transform t;
  t.length = ctx.has_input(3) ? ctx.sizes(3).at(0) : ctx.shape(2).at(0);
  t.inputs = t.length;
  t.outputs = ctx.attr_bool("onesided", true) ? floor_div(t.length, Dim(2)) + Dim(1) : t.length;
  Value* signal = ctx.input(0);
  if (ctx.rank(0) == 2) signal = ctx.unsqueeze(signal, {2});
  const Shape shape = signal->shape();
  t.input_parts = parts_of(ctx, shape.back());
  const Dim filters = t.outputs * Dim(2), parts(t.input_parts);
  Value* matrix = ctx.reshape(transform_matrix(ctx, t, signal->dtype()), {t.inputs, parts, filters});
  Value* weight = ctx.transpose(matrix, {2, 1, 0});
  if (ctx.has_input(2)) weight = ctx.binary(MapOp::mul, weight, ctx.cast(ctx.input(2), signal->dtype()));
  Conv conv;
  conv.strides = {step};
  conv.dilations = {1};
  conv.pads = {Dim(0), Dim(0)};
  Value* y = ctx.transpose(ctx.emit(std::move(conv), {ctx.transpose(signal, {0, 2, 1}), weight}), {0, 2, 1});
  ctx.set_output(0, ctx.reshape(y, {shape[0], y->shape()[1], t.outputs, Dim(2)}));
}

// A triangle for each filter, over the spectrum's bins at which three neighbours of count + 2 points lie that divide
// the mel scale (of O'Shaughnessy, 1987) evenly: it begins at the first, peaks at the second, ends at the third.
int mel_triangle(MapProgram& p, const Dim& count, const Dim& length, int rate, int low, int high) {
  const auto real = [&](double v) { return p.constant(v, DType::f64); };
  const auto divide = [&](int a, int b) { return p.binary(MapOp::div, a, b); };
  const auto mel = [&](int hertz) {
    const int ratio = p.binary(MapOp::add, real(1), divide(hertz, real(700)));
    return p.binary(MapOp::mul, real(2595), divide(p.unary(MapOp::log, ratio), real(std::log(10.0))));
  };
  const int first = mel(low), points = p.cast(p.dim(count + Dim(2)), DType::f64);
  const int step = divide(p.binary(MapOp::sub, mel(high), first), points);
  const auto bin = [&](int64_t neighbour) {
    const int place = p.cast(p.binary(MapOp::add, p.iota(-1), p.constant_int(neighbour, DType::i64)), DType::f64);
    const int here = p.binary(MapOp::add, first, p.binary(MapOp::mul, place, step));
    const int power = p.binary(MapOp::pow, real(10), divide(here, real(2595)));
    const int hertz = p.binary(MapOp::mul, real(700), p.binary(MapOp::sub, power, real(1)));
    const int circle = p.cast(p.dim(length + Dim(1)), DType::f64);
    return p.unary(MapOp::floor, divide(p.binary(MapOp::mul, circle, hertz), rate));
  };
  const int begin = bin(0), peak = bin(1), end = bin(2), row = p.cast(p.iota(-2), DType::f64);
  const int rising = divide(p.binary(MapOp::sub, row, begin), p.binary(MapOp::sub, peak, begin));
  const int falling = divide(p.binary(MapOp::sub, end, row), p.binary(MapOp::sub, end, peak));
  const auto among = [&](int from, int to) {
    return p.binary(MapOp::logical_and, p.binary(MapOp::ge, row, from), p.binary(MapOp::lt, row, to));
  };
  const int side = p.select(among(begin, peak), rising, p.select(among(peak, end), falling, real(0)));
  return p.select(p.binary(MapOp::eq, row, peak), real(1), side);
}

void import_mel_weight_matrix(Context& ctx) {
  const Dim count = ctx.sizes(0).at(0), length = ctx.sizes(1).at(0);
  std::vector<Value*> numbers;
  for (const size_t i : {2, 3, 4}) numbers.push_back(ctx.reshape(ctx.cast(ctx.input(i), DType::f64), {}));
  const DType dtype = ctx.attr_dtype("output_datatype", DType::f32);
  const auto entry = [&](MapProgram& p, const auto& in) {
    return p.cast(mel_triangle(p, count, length, in[0], in[1], in[2]), dtype);
  };
  ctx.set_output(0, ctx.map(numbers, entry, Shape{floor_div(length, Dim(2)) + Dim(1), count}));
}

constexpr OpRow kRows[] = {
    {"", "DFT", 17, import_dft},
    {"", "MelWeightMatrix", 17, import_mel_weight_matrix},
    {"", "STFT", 17, import_stft},
};

}  // namespace

std::span<const OpRow> fourier_ops() { return kRows; }

}  // namespace lathe::onnx
