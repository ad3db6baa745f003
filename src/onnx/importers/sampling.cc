// Reading images at places that the data says: GridSample with AffineGrid, RoiAlign, DeformConv.
#include "onnx/importers/context.h"
#include "onnx/importers/table.h"
#include "onnx/importers/window.h"

namespace lathe::onnx {
namespace {

// The place of an attribute's value in a list of choices; several spellings of one choice stand together.
int64_t choice(Context& ctx, std::string_view name, std::string_view fallback,
               std::initializer_list<std::initializer_list<std::string_view>> choices) {
  const std::string value = ctx.attr_string(name, fallback);
  int64_t place = 0;
  for (const auto& spellings : choices) {
    if (std::find(spellings.begin(), spellings.end(), value) != spellings.end()) return place;
    ++place;
  }
  ctx.invalid(fmt::format("attribute '{}' is '{}', which is not known", name, value));
}

void import_grid_sample(Context& ctx) {
  Extern op;
  op.kernel = "grid_sample";
  op.integers = {choice(ctx, "mode", "linear", {{"nearest"}, {"linear", "bilinear"}, {"cubic", "bicubic"}}),
                 choice(ctx, "padding_mode", "zeros", {{"zeros"}, {"border"}, {"reflection"}}),
                 ctx.attr_bool("align_corners", false)};
  ctx.set_output(0, ctx.emit(std::move(op), {ctx.input(0), ctx.input(1)}));
}

// The homogeneous coordinates of all places, [spatial.., axes + 1]: last axis first, each from -1 to 1, then 1.
Value* base_grid(Context& ctx, const Shape& spatial, DType dtype) {
  const auto axes = static_cast<int>(spatial.size());
  const bool align_corners = ctx.attr_bool("align_corners", false);
  Shape shape = spatial;
  shape.emplace_back(axes + 1);
  return ctx.map(
      {},
      [&](MapProgram& p, const auto&) {
        const auto real = [&](double v) { return p.constant(v, DType::f64); };
        int result = real(1);
        for (int axis = 0; axis < axes; ++axis) {
          const int place = p.binary(MapOp::mul, p.cast(p.iota(axis - axes - 1), DType::f64), real(2));
          const Dim& size = spatial[static_cast<size_t>(axis)];
          const int extent = p.cast(p.dim(align_corners ? size - Dim(1) : size), DType::f64);
          const int shifted = align_corners ? place : p.binary(MapOp::add, place, real(1));
          const int coordinate = p.binary(MapOp::sub, p.binary(MapOp::div, shifted, extent), real(1));
          const int column = p.constant_int(axes - 1 - axis, DType::i64);
          result = p.select(p.binary(MapOp::eq, p.iota(-1), column), coordinate, result);
        }
        return p.cast(result, dtype);
      },
      shape);
}

// theta [N, axes, axes + 1] applied to the places of an image of size [N, C, spatial..].
void import_affine_grid(Context& ctx) {
  const Shape size = ctx.sizes(1);
  if (size.size() != 4 && size.size() != 5) ctx.invalid("the size must be that of an image of two or three axes");
  const Shape spatial(size.begin() + 2, size.end());
  const Dim axes(static_cast<int64_t>(spatial.size()));
  Value* places = ctx.reshape(base_grid(ctx, spatial, ctx.dtype(0)), {product(spatial), axes + Dim(1)});
  Value* grid = ctx.matmul(places, ctx.input(0), false, true);
  Shape shape = {ctx.shape(0)[0]};
  shape.insert(shape.end(), spatial.begin(), spatial.end());
  shape.push_back(axes);
  ctx.set_output(0, ctx.reshape(grid, std::move(shape)));
}

// Version 10 has no choice of coordinates, it never moved regions by half a pixel.
void import_roi_align(Context& ctx) {
  const bool half_pixel = ctx.opset() >= 16 && choice(ctx, "coordinate_transformation_mode", "half_pixel",
                                                      {{"output_half_pixel"}, {"half_pixel"}}) == 1;
  Extern op;
  op.kernel = "roi_align";
  op.integers = {choice(ctx, "mode", "avg", {{"avg"}, {"max"}}), ctx.attr_int("output_height", 1),
                 ctx.attr_int("output_width", 1), ctx.attr_int("sampling_ratio", 0), half_pixel};
  op.numbers = {ctx.attr_float("spatial_scale", 1)};
  ctx.set_output(0, ctx.emit(std::move(op), {ctx.input(0), ctx.input(1), ctx.input(2)}));
}

void import_deform_conv(Context& ctx) {
  const Shape& w = ctx.shape(1);
  if (w.size() != 4) ctx.unsupported("deformable convolutions of other than two axes are not supported");
  Window window = read_window(ctx, {1, 1});  // the kernel matters to auto_pad only, which this op does not have
  Extern op;
  op.kernel = "deform_conv";
  op.integers = {ctx.attr_int("group", 1), ctx.attr_int("offset_group", 1)};
  op.integers.insert(op.integers.end(), window.strides.begin(), window.strides.end());
  op.integers.insert(op.integers.end(), window.dilations.begin(), window.dilations.end());
  for (size_t axis = 0; axis < 2; ++axis) op.integers.push_back(window.pads[axis].value());
  std::vector<Value*> operands = {ctx.input(0), ctx.input(1), ctx.input(2)};
  if (ctx.has_input(4)) operands.push_back(ctx.input(4));
  Value* y = ctx.emit(std::move(op), std::move(operands));
  if (ctx.has_input(3)) y = ctx.binary(MapOp::add, y, channel_vector(ctx, ctx.input(3), 2));
  ctx.set_output(0, y);
}

constexpr OpRow kRows[] = {
    {"", "AffineGrid", 20, import_affine_grid},        {"", "DeformConv", 19, import_deform_conv},
    {"", "GridSample", 16, import_grid_sample},        {"", "RoiAlign", 10, import_roi_align},
    {kMicrosoft, "GridSample", 1, import_grid_sample},
};

}  // namespace

std::span<const OpRow> sampling_ops() { return kRows; }

}  // namespace lathe::onnx
