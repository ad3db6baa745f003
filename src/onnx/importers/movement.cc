// Data movement: Transpose, Concat, Split, Pad, CenterCropPad, space/depth rearrangements, ReverseSequence, Trilu.
#include <algorithm>

#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

void import_transpose(Context& ctx) {
  std::vector<int64_t> perm = ctx.attr_ints("perm");
  if (perm.empty())
    for (int64_t i = ctx.rank(0); i-- > 0;) perm.push_back(i);
  ctx.set_output(0, ctx.transpose(ctx.input(0), std::move(perm)));
}

void import_concat(Context& ctx) {
  if (ctx.num_inputs() == 0) ctx.invalid("there is nothing to join");
  const int64_t axis = ctx.opset() < 4 ? ctx.attr_int("axis", 1) : ctx.required_int("axis");
  ctx.set_output(0, ctx.concat(ctx.all_inputs(), ctx.resolve_axis(axis, ctx.rank(0))));
}

// Without sizes, parts of ceil(size / parts), the last one shorter.
Shape split_sizes(Context& ctx, const Dim& size) {
  if (ctx.has_input(1)) return ctx.sizes(1);
  const std::vector<int64_t> given = ctx.attr_ints("split");
  if (!given.empty()) return Shape(given.begin(), given.end());
  const auto parts = static_cast<int64_t>(ctx.num_outputs());
  const Dim each = ceil_div(size, Dim(parts));
  Shape sizes(static_cast<size_t>(parts - 1), each);
  sizes.push_back(size - each * Dim(parts - 1));
  return sizes;
}

void import_split(Context& ctx) {
  const int64_t axis = ctx.resolve_axis(ctx.attr_int("axis", 0), ctx.rank(0));
  const Shape sizes = split_sizes(ctx, ctx.shape(0)[static_cast<size_t>(axis)]);
  if (sizes.size() != ctx.num_outputs()) ctx.invalid("the number of sizes differs from the number of outputs");
  Dim start;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (ctx.wants_output(i)) ctx.set_output(i, ctx.slice(ctx.input(0), axis, start, sizes[i]));
    start = start + sizes[i];
  }
}

PadMode pad_mode(Context& ctx) {
  const std::string mode = ctx.attr_string("mode", "constant");
  if (mode == "constant") return PadMode::constant;
  if (mode == "reflect") return PadMode::reflect;
  if (mode == "edge") return PadMode::edge;
  if (mode == "wrap") return PadMode::wrap;
  ctx.invalid(fmt::format("there is no pad mode '{}'", mode));
}

void import_pad(Context& ctx) {
  const auto rank = static_cast<size_t>(ctx.rank(0));
  Shape pads;
  std::vector<Value*> operands = {ctx.input(0)};
  if (ctx.is_standard_domain() && ctx.opset() < 11) {
    const std::vector<int64_t> given = ctx.attr_ints(ctx.opset() < 2 ? "paddings" : "pads");
    pads.assign(given.begin(), given.end());
    const double fill = ctx.attr_float("value", 0);
    if (fill != 0) operands.push_back(ctx.scalar(fill, ctx.dtype(0)));
  } else {
    pads = ctx.sizes(1, Sign::any);
    if (ctx.has_input(2)) operands.push_back(ctx.reshape(ctx.input(2), {}));
  }
  std::vector<int64_t> axes = ctx.has_input(3) ? ctx.integers(3) : std::vector<int64_t>();
  if (!ctx.has_input(3))
    for (size_t i = 0; i < rank; ++i) axes.push_back(static_cast<int64_t>(i));
  if (pads.size() != 2 * axes.size()) ctx.invalid("the number of pads is not twice the number of axes");
  Pad op{pad_mode(ctx), Shape(rank, Dim(0)), Shape(rank, Dim(0))};
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(ctx.resolve_axis(axes[i], ctx.rank(0)));
    op.begins[axis] = pads[i];
    op.ends[axis] = pads[i + axes.size()];
  }
  ctx.set_output(0, ctx.emit(std::move(op), std::move(operands)));
}

// What is too large is cut around its middle, what is too small stands in the middle of zeros.
void import_center_crop_pad(Context& ctx) {
  std::vector<int64_t> axes = ctx.attr_ints("axes");
  if (!ctx.has_attr("axes"))
    for (int64_t axis = 0; axis < ctx.rank(0); ++axis) axes.push_back(axis);
  const Shape sizes = ctx.sizes(1);
  if (sizes.size() != axes.size()) ctx.invalid("the number of sizes differs from the number of axes");
  Value* x = ctx.input(0);
  Pad pad{PadMode::constant, Shape(x->shape().size(), Dim(0)), Shape(x->shape().size(), Dim(0))};
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(ctx.resolve_axis(axes[i], ctx.rank(0)));
    const Dim given = x->shape()[axis], kept = min(given, sizes[i]);
    if (!(kept == given)) x = ctx.slice(x, static_cast<int64_t>(axis), floor_div(given - kept, Dim(2)), kept);
    pad.begins[axis] = floor_div(sizes[i] - kept, Dim(2));
    pad.ends[axis] = sizes[i] - kept - pad.begins[axis];
  }
  ctx.set_output(0, ctx.emit(std::move(pad), {x}));
}

int64_t block_size(Context& ctx) {
  const int64_t block = ctx.required_int("blocksize");
  if (block <= 0) ctx.invalid("blocksize must be positive");
  if (ctx.rank(0) != 4) ctx.invalid("the operand must have rank 4");
  return block;
}

void import_depth_to_space(Context& ctx) {
  const Dim b = block_size(ctx);
  const Shape& x = ctx.shape(0);
  const Dim depth = floor_div(x[1], b * b);
  const bool crd = ctx.attr_string("mode", "DCR") == "CRD";
  Value* y =
      ctx.reshape(ctx.input(0), crd ? Shape{x[0], depth, b, b, x[2], x[3]} : Shape{x[0], b, b, depth, x[2], x[3]});
  y = ctx.transpose(y, crd ? std::vector<int64_t>{0, 1, 4, 2, 5, 3} : std::vector<int64_t>{0, 3, 4, 1, 5, 2});
  ctx.set_output(0, ctx.reshape(y, {x[0], depth, x[2] * b, x[3] * b}));
}

void import_space_to_depth(Context& ctx) {
  const Dim b = block_size(ctx);
  const Shape& x = ctx.shape(0);
  const Dim height = floor_div(x[2], b), width = floor_div(x[3], b);
  Value* y = ctx.reshape(ctx.input(0), {x[0], x[1], height, b, width, b});
  ctx.set_output(0, ctx.reshape(ctx.transpose(y, {0, 3, 5, 1, 2, 4}), {x[0], x[1] * b * b, height, width}));
}

void import_reverse_sequence(Context& ctx) {
  ReverseSequence op;
  op.batch_axis = ctx.attr_int("batch_axis", 1);
  op.time_axis = ctx.attr_int("time_axis", 0);
  ctx.set_output(0, ctx.emit(op, {ctx.input(0), ctx.cast(ctx.input(1), DType::i64)}));
}

// Keeps column - row >= k (upper) or <= k (lower).
void import_trilu(Context& ctx) {
  if (ctx.rank(0) < 2) ctx.invalid("the operand must have rank 2 at least");
  const bool upper = ctx.attr_bool("upper", true);
  const Dim k = ctx.has_input(1) ? ctx.sizes(1, Sign::any).at(0) : Dim(0);
  ctx.set_output(0, ctx.map({ctx.input(0)}, [&](MapProgram& p, const auto& in) {
    const int diagonal = p.binary(MapOp::add, p.iota(-2), p.dim(k));
    const int keep = p.binary(upper ? MapOp::ge : MapOp::le, p.iota(-1), diagonal);
    return p.select(keep, in[0], p.constant_int(0, ctx.dtype(0)));
  }));
}

constexpr OpRow kRows[] = {
    {"", "CenterCropPad", 18, import_center_crop_pad},
    {"", "Concat", 1, import_concat},
    {"", "DepthToSpace", 1, import_depth_to_space},
    {"", "Pad", 1, import_pad},
    {"", "ReverseSequence", 10, import_reverse_sequence},
    {"", "SpaceToDepth", 1, import_space_to_depth},
    {"", "Split", 1, import_split},
    {"", "Transpose", 1, import_transpose},
    {"", "Trilu", 14, import_trilu},
    {kMicrosoft, "Pad", 1, import_pad},
    {kMicrosoft, "Trilu", 1, import_trilu},
};

}  // namespace

std::span<const OpRow> movement_ops() { return kRows; }

}  // namespace lathe::onnx
