#include "onnx/importers/window.h"

namespace lathe::onnx {
namespace {

std::vector<int64_t> per_axis(Context& ctx, std::string_view name, size_t axes) {
  std::vector<int64_t> values = ctx.attr_ints(name);
  if (values.empty()) values.assign(axes, 1);
  if (values.size() != axes)
    ctx.invalid(fmt::format("attribute '{}' has {} entries for {} spatial axes", name, values.size(), axes));
  for (const int64_t v : values)
    if (v <= 0) ctx.invalid(fmt::format("attribute '{}' holds {}", name, v));
  return values;
}

}  // namespace

// SAME: as much padding as makes the output ceil(size / stride); the odd one goes to the end (upper) or the begin.
Window read_window(Context& ctx, std::vector<int64_t> kernel, bool channels_last) {
  const size_t axes = kernel.size();
  if (ctx.rank(0) != static_cast<int64_t>(axes) + 2)
    ctx.invalid(fmt::format("a kernel of {} axes does not fit an operand of rank {}", axes, ctx.rank(0)));
  Window w{std::move(kernel), per_axis(ctx, "strides", axes), per_axis(ctx, "dilations", axes),
           Shape(2 * axes, Dim(0))};
  const std::string mode = ctx.attr_string("auto_pad", "NOTSET");
  if (mode == "NOTSET" || mode.empty()) {
    const std::vector<int64_t> pads = ctx.attr_ints("pads");
    if (!pads.empty() && pads.size() != 2 * axes)
      ctx.invalid("the number of pads is not twice the number of spatial axes");
    if (!pads.empty()) w.pads.assign(pads.begin(), pads.end());
    return w;
  }
  if (mode == "VALID") return w;
  if (mode != "SAME_UPPER" && mode != "SAME_LOWER") ctx.invalid(fmt::format("there is no auto_pad '{}'", mode));
  for (size_t i = 0; i < axes; ++i) {
    const Dim size = ctx.shape(0)[i + (channels_last ? 1 : 2)], stride = w.strides[i];
    const Dim extent = (w.kernel[i] - 1) * w.dilations[i] + 1;
    const Dim total = max((ceil_div(size, stride) - Dim(1)) * stride + extent - size, Dim(0));
    const Dim half = floor_div(total, Dim(2));
    w.pads[i] = mode == "SAME_UPPER" ? half : total - half;
    w.pads[i + axes] = total - w.pads[i];
  }
  return w;
}

std::vector<int64_t> kernel_sizes(Context& ctx, const Shape& weight) {
  if (weight.size() < 3) ctx.invalid("the weight must have rank 3 at least");
  const std::vector<int64_t> given = ctx.attr_ints("kernel_shape");
  std::vector<int64_t> kernel;
  for (size_t i = 2; i < weight.size(); ++i) {
    if (weight[i].is_constant())
      kernel.push_back(weight[i].value());
    else if (given.size() == weight.size() - 2)
      kernel.push_back(given[i - 2]);
    else
      ctx.unsupported("the kernel's size is not known before the model runs");
  }
  if (!given.empty() && given != kernel) ctx.invalid("kernel_shape differs from the weight's shape");
  return kernel;
}

Conv read_conv(Context& ctx, const Shape& weight, bool channels_last) {
  Window w = read_window(ctx, kernel_sizes(ctx, weight), channels_last);
  Conv op;
  op.strides = std::move(w.strides);
  op.dilations = std::move(w.dilations);
  op.pads = std::move(w.pads);
  op.groups = ctx.attr_int("group", 1);
  return op;
}

Pool read_pool(Context& ctx, PoolKind kind, bool channels_last) {
  std::vector<int64_t> kernel = ctx.attr_ints("kernel_shape");
  if (kernel.empty()) ctx.invalid("attribute 'kernel_shape' is missing");
  Window w = read_window(ctx, std::move(kernel), channels_last);
  Pool op;
  op.kind = kind;
  op.kernel = std::move(w.kernel);
  op.strides = std::move(w.strides);
  op.dilations = std::move(w.dilations);
  op.pads = std::move(w.pads);
  op.ceil_mode = ctx.attr_bool("ceil_mode", false);
  op.count_include_pad = ctx.attr_bool("count_include_pad", false);
  return op;
}

MapProgram bias_epilogue(DType type) { return binary_program(MapOp::add, type); }

Value* channel_vector(Context& ctx, Value* vector, int64_t spatial_rank) {
  Shape shape(static_cast<size_t>(spatial_rank) + 1, Dim(1));
  shape[0] = product(vector->shape());
  return ctx.reshape(vector, std::move(shape));
}

Value* channels_first(Emitter& emitter, Value* x) {
  std::vector<int64_t> perm = {0, x->type().rank() - 1};
  for (int64_t axis = 1; axis + 1 < x->type().rank(); ++axis) perm.push_back(axis);
  return emitter.transpose(x, std::move(perm));
}

Value* channels_last(Emitter& emitter, Value* x) {
  std::vector<int64_t> perm = {0};
  for (int64_t axis = 2; axis < x->type().rank(); ++axis) perm.push_back(axis);
  perm.push_back(1);
  return emitter.transpose(x, std::move(perm));
}

}  // namespace lathe::onnx
