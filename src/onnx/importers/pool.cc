// Pooling over windows and over everything, and its undoing.
#include <numeric>

#include "onnx/importers/context.h"
#include "onnx/importers/table.h"
#include "onnx/importers/window.h"

namespace lathe::onnx {
namespace {

template <PoolKind kKind>
void import_pool(Context& ctx) {
  Pool op = read_pool(ctx, kKind);
  op.p = ctx.opset() < 2 ? static_cast<int64_t>(ctx.attr_float("p", 2)) : ctx.attr_int("p", 2);
  op.column_major_indices = ctx.attr_bool("storage_order", false);
  const bool indices = kKind == PoolKind::max && ctx.wants_output(1);
  Node* node = ctx.append(std::move(op), {ctx.input(0)}, indices ? 2 : 1);
  ctx.set_output(0, node->output(0));
  if (indices) ctx.set_output(1, node->output(1));
}

std::vector<int64_t> spatial_axes(Context& ctx) {
  if (ctx.rank(0) < 3) ctx.invalid("the operand has no spatial axes");
  std::vector<int64_t> axes(static_cast<size_t>(ctx.rank(0)) - 2);
  std::iota(axes.begin(), axes.end(), 2);
  return axes;
}

template <ReduceKind kKind>
void import_global_pool(Context& ctx) {
  ctx.set_output(0, ctx.reduce(kKind, ctx.input(0), spatial_axes(ctx)));
}

// (sum |x|^p)^(1/p)
void import_global_lp_pool(Context& ctx) {
  const double p_norm = ctx.opset() < 2 ? ctx.attr_float("p", 2) : static_cast<double>(ctx.attr_int("p", 2));
  const DType dtype = ctx.dtype(0);
  Value* powers = ctx.map({ctx.input(0)}, [&](MapProgram& p, const auto& in) {
    return p.binary(MapOp::pow, p.unary(MapOp::abs, in[0]), p.constant(p_norm, dtype));
  });
  Value* sum = ctx.reduce(ReduceKind::sum, powers, spatial_axes(ctx));
  ctx.set_output(0, ctx.map({sum}, [&](MapProgram& p, const auto& in) {
    return p.binary(MapOp::pow, in[0], p.constant(1 / p_norm, dtype));
  }));
}

// Puts each element where its index says, in a tensor of zeros that the pool may have had as its operand; a larger
// output has more zeros behind.
void import_max_unpool(Context& ctx) {
  const std::vector<int64_t> kernel = ctx.attr_ints("kernel_shape");
  if (kernel.empty()) ctx.invalid("attribute 'kernel_shape' is missing");
  const Window w = read_window(ctx, kernel);
  const size_t axes = kernel.size();
  Shape shape = ctx.shape(0);
  const Dim elements = product(shape);
  for (size_t i = 0; i < axes; ++i)
    shape[i + 2] = (shape[i + 2] - Dim(1)) * Dim(w.strides[i]) + Dim(kernel[i]) - w.pads[i] - w.pads[i + axes];
  Value* zeros = ctx.expand(ctx.scalar(0, ctx.dtype(0)), {product(shape)});
  Value* indices = ctx.reshape(ctx.input(1), {elements});
  Value* updates = ctx.reshape(ctx.input(0), {elements});
  Value* flat = ctx.emit(ScatterElements{0, ScatterReduction::none}, {zeros, indices, updates});
  Value* y = ctx.reshape(flat, shape);
  if (!ctx.has_input(2)) return ctx.set_output(0, y);
  const Shape wanted = ctx.sizes(2);
  if (wanted.size() != shape.size()) ctx.invalid("output_shape has another rank than the operand");
  Pad pad{PadMode::constant, Shape(shape.size(), Dim(0)), {}};
  for (size_t i = 0; i < shape.size(); ++i) pad.ends.push_back(wanted[i] - shape[i]);
  ctx.set_output(0, ctx.emit(std::move(pad), {y}));
}

constexpr OpRow kRows[] = {
    {"", "AveragePool", 7, import_pool<PoolKind::average>},
    {"", "GlobalAveragePool", 1, import_global_pool<ReduceKind::mean>},
    {"", "GlobalLpPool", 1, import_global_lp_pool},
    {"", "GlobalMaxPool", 1, import_global_pool<ReduceKind::max>},
    {"", "LpPool", 1, import_pool<PoolKind::lp>},
    {"", "MaxPool", 1, import_pool<PoolKind::max>},
    {"", "MaxUnpool", 9, import_max_unpool},
};

}  // namespace

std::span<const OpRow> pool_ops() { return kRows; }

}  // namespace lathe::onnx
