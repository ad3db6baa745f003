// Resize and Upsample of every opset. Sizes come from `sizes`, or from floor(size * scale); which of the two the model
// gave also decides which ratio the coordinates use (graph/ops/resize.h).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

template <class E>
E pick(Context& ctx, const std::string& name, std::initializer_list<std::pair<std::string_view, E>> choices) {
  for (const auto& [text, value] : choices)
    if (text == name) return value;
  ctx.unsupported(fmt::format("the setting '{}' is not known", name));
}

void read_mode(Context& ctx, Resize& op) {
  op.mode = pick<ResizeMode>(ctx, ctx.attr_string("mode", "nearest"),
                             {{"nearest", ResizeMode::nearest},
                              {"linear", ResizeMode::linear},
                              {"bilinear", ResizeMode::linear},
                              {"trilinear", ResizeMode::linear},
                              {"cubic", ResizeMode::cubic}});
  if (ctx.op_type() == "Upsample" || ctx.opset() < 11) {
    op.coordinates = ResizeCoordinates::asymmetric;
    op.nearest = ResizeNearest::floor;
    return;
  }
  using C = ResizeCoordinates;
  op.coordinates = pick<C>(ctx, ctx.attr_string("coordinate_transformation_mode", "half_pixel"),
                           {{"half_pixel", C::half_pixel},
                            {"half_pixel_symmetric", C::half_pixel_symmetric},
                            {"pytorch_half_pixel", C::pytorch_half_pixel},
                            {"align_corners", C::align_corners},
                            {"asymmetric", C::asymmetric},
                            {"tf_crop_and_resize", C::tf_crop_and_resize}});
  using N = ResizeNearest;
  op.nearest = pick<N>(ctx, ctx.attr_string("nearest_mode", "round_prefer_floor"),
                       {{"round_prefer_floor", N::round_prefer_floor},
                        {"round_prefer_ceil", N::round_prefer_ceil},
                        {"floor", N::floor},
                        {"ceil", N::ceil}});
  op.cubic_coefficient = ctx.attr_float("cubic_coeff_a", -0.75);
  op.exclude_outside = ctx.attr_bool("exclude_outside", false);
  op.antialias = ctx.attr_bool("antialias", false);
  op.extrapolation_value = ctx.attr_float("extrapolation_value", 0);
}

// floor(size * scale) as f32 arithmetic gives it.
Dim scaled_size(Context& ctx, const Dim& size, float scale) {
  if (size.is_constant()) return static_cast<int64_t>(std::floor(static_cast<float>(size.value()) * scale));
  if (const auto exact = multiply(Element(size), Element::real(scale), DType::f32))
    if (const auto whole = floor(*exact); whole && whole->dim() != nullptr) return *whole->dim();
  Value* at_run_time = ctx.map({ctx.dims({size})}, [&](MapProgram& p, const auto& in) {
    const int product =
        p.binary(MapOp::mul, p.cast(in[0], DType::f32), p.constant(static_cast<double>(scale), DType::f32));
    return p.cast(p.unary(MapOp::floor, product), DType::i64);
  });
  return ctx.bind(at_run_time, 1, Sign::nonnegative)[0];
}

// floor(size * scale + shift) for scales that only the run knows.
Shape sizes_at_run_time(Context& ctx, const Shape& from, Value* scales, double shift) {
  Value* sizes = ctx.map({ctx.dims(from), scales}, [&](MapProgram& p, const auto& in) {
    const int scaled = p.binary(MapOp::mul, p.cast(in[0], DType::f32), in[1]);
    const int moved = p.binary(MapOp::add, scaled, p.constant(shift, DType::f32));
    return p.cast(p.unary(MapOp::floor, moved), DType::i64);
  });
  return ctx.bind(sizes, static_cast<int64_t>(from.size()), Sign::nonnegative);
}

void set_scales(Context& ctx, const Shape& from, std::vector<double> scales, Resize& op) {
  if (scales.size() != op.axes.size()) ctx.invalid("the number of scales does not fit the number of axes");
  for (size_t i = 0; i < scales.size(); ++i) {
    if (!(scales[i] > 0)) ctx.invalid("a scale is not positive");
    op.sizes.push_back(scaled_size(ctx, from[i], static_cast<float>(scales[i])));
  }
  op.scales = std::move(scales);
}

// The one scale that keeps the picture inside of the sizes asked for (the smallest), or around them.
void keep_aspect_ratio(const Shape& from, bool inside, Resize& op) {
  float scale = 0;
  for (size_t i = 0; i < from.size(); ++i) {
    const float ratio = static_cast<float>(op.sizes[i].value()) / static_cast<float>(from[i].value());
    scale = i == 0 ? ratio : inside ? std::min(scale, ratio) : std::max(scale, ratio);
  }
  op.scales.assign(from.size(), static_cast<double>(scale));
  for (size_t i = 0; i < from.size(); ++i)
    op.sizes[i] = static_cast<int64_t>(std::floor(static_cast<float>(from[i].value()) * scale + 0.5F));
}

// The same of sizes that only the run knows; gives the scales.
Value* keep_aspect_ratio_at_run_time(Context& ctx, const Shape& from, bool inside, Resize& op) {
  Value* ratios = ctx.map({ctx.dims(op.sizes), ctx.dims(from)}, [](MapProgram& p, const auto& in) {
    return p.binary(MapOp::div, p.cast(in[0], DType::f32), p.cast(in[1], DType::f32));
  });
  Value* scale = ctx.reduce(inside ? ReduceKind::min : ReduceKind::max, ratios, {0});
  Value* scales = ctx.expand(scale, {Dim(static_cast<int64_t>(from.size()))});
  op.sizes = sizes_at_run_time(ctx, from, scales, 0.5);
  return scales;
}

// Gives the scales where only the run knows them.
Value* set_sizes(Context& ctx, const Shape& from, Shape sizes, Resize& op) {
  if (sizes.size() != op.axes.size()) ctx.invalid("the number of sizes does not fit the number of axes");
  op.sizes = std::move(sizes);
  const std::string policy = ctx.attr_string("keep_aspect_ratio_policy", "stretch");
  if (policy == "stretch") return nullptr;
  const bool inside = policy == "not_larger";
  if (!is_static(from) || !is_static(op.sizes)) return keep_aspect_ratio_at_run_time(ctx, from, inside, op);
  keep_aspect_ratio(from, inside, op);
  return nullptr;
}

std::vector<double> numbers(const Tensor& t) {
  std::vector<double> values;
  for (int64_t i = 0; i < t.elements(); ++i) values.push_back(t.read_double(i));
  return values;
}

bool is_given(Context& ctx, size_t i) { return ctx.has_input(i) && !(product(ctx.shape(i)) == Dim(0)); }

// Axes that keep their size are no part of the op.
void drop_kept_axes(const Shape& from, Resize& op) {
  if (op.coordinates == ResizeCoordinates::tf_crop_and_resize) return;
  Resize kept = op;
  kept.axes.clear();
  kept.sizes.clear();
  kept.scales.clear();
  for (size_t i = 0; i < op.axes.size(); ++i) {
    if (op.sizes[i] == from[i] && (op.scales.empty() || op.scales[i] == 1)) continue;
    kept.axes.push_back(op.axes[i]);
    kept.sizes.push_back(op.sizes[i]);
    if (!op.scales.empty()) kept.scales.push_back(op.scales[i]);
  }
  op = std::move(kept);
}

void import_resize(Context& ctx) {
  Resize op;
  read_mode(ctx, op);
  op.axes = ctx.attr_ints("axes");
  if (op.axes.empty()) {
    op.axes.resize(static_cast<size_t>(ctx.rank(0)));
    std::iota(op.axes.begin(), op.axes.end(), 0);
  }
  Shape from;
  for (int64_t& axis : op.axes)
    from.push_back(ctx.shape(0)[static_cast<size_t>(axis = ctx.resolve_axis(axis, ctx.rank(0)))]);
  const bool old = ctx.op_type() == "Upsample" || ctx.opset() < 11;
  const size_t scales = old ? 1 : 2;
  Value* late_scales = nullptr;
  if (ctx.op_type() == "Upsample" && ctx.opset() < 7)
    set_scales(ctx, from, {1, 1, ctx.attr_float("height_scale", 1), ctx.attr_float("width_scale", 1)}, op);
  else if (ctx.op_type() == "Upsample" && ctx.opset() < 9)
    set_scales(ctx, from, ctx.attr_floats("scales"), op);
  else if (!old && is_given(ctx, 3))
    late_scales = set_sizes(ctx, from, ctx.sizes(3), op);
  else if (!is_given(ctx, scales))
    ctx.invalid("neither scales nor sizes are given");
  else if (const auto known = ctx.constant(scales))
    set_scales(ctx, from, numbers(*known), op);
  else
    op.sizes = sizes_at_run_time(ctx, from, late_scales = ctx.cast(ctx.input(scales), DType::f32), 0);
  if (op.coordinates == ResizeCoordinates::tf_crop_and_resize) {
    const auto roi = ctx.has_input(1) ? ctx.constant(1) : std::nullopt;
    if (!roi) ctx.unsupported("the region of interest must be a constant");
    op.roi = numbers(*roi);
  }
  if (late_scales != nullptr) return ctx.set_output(0, ctx.emit(std::move(op), {ctx.input(0), late_scales}));
  drop_kept_axes(from, op);
  if (op.axes.empty()) return ctx.forward(0);
  ctx.set_output(0, ctx.emit(std::move(op), {ctx.input(0)}));
}

constexpr OpRow kRows[] = {
    {"", "Resize", 10, import_resize},
    {"", "Upsample", 1, import_resize},
};

}  // namespace

std::span<const OpRow> resize_ops() { return kRows; }

}  // namespace lathe::onnx
