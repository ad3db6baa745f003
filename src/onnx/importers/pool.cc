// Pooling over windows and over everything.
#include <numeric>

#include "onnx/importers/context.h"
#include "onnx/importers/table.h"
#include "onnx/importers/window.h"

namespace lathe::onnx {
namespace {

template <PoolKind kKind>
void import_pool(Context& ctx) {
  std::vector<int64_t> kernel = ctx.attr_ints("kernel_shape");
  if (kernel.empty()) ctx.invalid("attribute 'kernel_shape' is missing");
  Window w = read_window(ctx, std::move(kernel));
  Pool op;
  op.kind = kKind;
  op.kernel = std::move(w.kernel);
  op.strides = std::move(w.strides);
  op.dilations = std::move(w.dilations);
  op.pads = std::move(w.pads);
  op.ceil_mode = ctx.attr_bool("ceil_mode", false);
  op.count_include_pad = ctx.attr_bool("count_include_pad", false);
  op.p = ctx.attr_int("p", 2);
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
  const auto p_norm = static_cast<double>(ctx.attr_int("p", 2));
  const DType dtype = ctx.dtype(0);
  Value* powers = ctx.map({ctx.input(0)}, [&](MapProgram& p, const auto& in) {
    return p.binary(MapOp::pow, p.unary(MapOp::abs, in[0]), p.constant(p_norm, dtype));
  });
  Value* sum = ctx.reduce(ReduceKind::sum, powers, spatial_axes(ctx));
  ctx.set_output(0, ctx.map({sum}, [&](MapProgram& p, const auto& in) {
    return p.binary(MapOp::pow, in[0], p.constant(1 / p_norm, dtype));
  }));
}

constexpr OpRow kRows[] = {
    {"", "AveragePool", 7, import_pool<PoolKind::average>},
    {"", "GlobalAveragePool", 1, import_global_pool<ReduceKind::mean>},
    {"", "GlobalLpPool", 2, import_global_lp_pool},
    {"", "GlobalMaxPool", 1, import_global_pool<ReduceKind::max>},
    {"", "LpPool", 2, import_pool<PoolKind::lp>},
    {"", "MaxPool", 1, import_pool<PoolKind::max>},
};

}  // namespace

std::span<const OpRow> pool_ops() { return kRows; }

}  // namespace lathe::onnx
