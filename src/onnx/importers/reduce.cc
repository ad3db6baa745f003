// Reductions, arg-reductions and running sums.
#include <numeric>

#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

// Axes are an attribute before opset 18 (13 for ReduceSum), then an operand; none means all, or none with noop.
std::vector<int64_t> reduced_axes(Context& ctx) {
  const bool operand = ctx.opset() >= (ctx.op_type() == "ReduceSum" ? 13 : 18);
  std::vector<int64_t> axes =
      operand ? (ctx.has_input(1) ? ctx.integers(1) : std::vector<int64_t>()) : ctx.attr_ints("axes");
  if (axes.empty() && !(operand && ctx.attr_bool("noop_with_empty_axes", false))) {
    axes.resize(static_cast<size_t>(ctx.rank(0)));
    std::iota(axes.begin(), axes.end(), 0);
  }
  return ctx.resolve_axes(std::move(axes), ctx.rank(0));
}

template <ReduceKind kKind>
void import_reduce(Context& ctx) {
  const bool keep = ctx.attr_bool("keepdims", true);
  const DType dtype = ctx.dtype(0);
  // The largest bool is a logical or, taken on numbers.
  Value* x = dtype == DType::boolean ? ctx.cast(ctx.input(0), DType::u8) : ctx.input(0);
  x = ctx.reduce(kKind, x, reduced_axes(ctx), keep);
  if (dtype == DType::boolean)
    x = ctx.map({x},
                [](MapProgram& p, const auto& in) { return p.binary(MapOp::ne, in[0], p.constant_int(0, DType::u8)); });
  ctx.set_output(0, x);
}

template <bool kLargest>
void import_arg_reduce(Context& ctx) {
  ArgReduce op;
  op.largest = kLargest;
  op.axis = ctx.resolve_axis(ctx.attr_int("axis", 0), ctx.rank(0));
  op.keep_dims = ctx.attr_bool("keepdims", true);
  op.select_last = ctx.attr_bool("select_last_index", false);
  ctx.set_output(0, ctx.emit(op, {ctx.input(0)}));
}

template <CumulativeKind kKind>
void import_cumulative(Context& ctx) {
  const std::vector<int64_t> axis = ctx.integers(1);
  if (axis.size() != 1) ctx.invalid("the axis must be one number");
  Cumulative op;
  op.kind = kKind;
  op.axis = ctx.resolve_axis(axis[0], ctx.rank(0));
  op.exclusive = ctx.attr_bool("exclusive", false);
  op.reverse = ctx.attr_bool("reverse", false);
  ctx.set_output(0, ctx.emit(op, {ctx.input(0)}));
}

constexpr OpRow kRows[] = {
    {"", "ArgMax", 1, import_arg_reduce<true>},
    {"", "ArgMin", 1, import_arg_reduce<false>},
    {"", "CumProd", 26, import_cumulative<CumulativeKind::prod>},
    {"", "CumSum", 11, import_cumulative<CumulativeKind::sum>},
    {"", "ReduceL1", 1, import_reduce<ReduceKind::l1>},
    {"", "ReduceL2", 1, import_reduce<ReduceKind::l2>},
    {"", "ReduceLogSum", 1, import_reduce<ReduceKind::log_sum>},
    {"", "ReduceLogSumExp", 1, import_reduce<ReduceKind::log_sum_exp>},
    {"", "ReduceMax", 1, import_reduce<ReduceKind::max>},
    {"", "ReduceMean", 1, import_reduce<ReduceKind::mean>},
    {"", "ReduceMin", 1, import_reduce<ReduceKind::min>},
    {"", "ReduceProd", 1, import_reduce<ReduceKind::prod>},
    {"", "ReduceSum", 1, import_reduce<ReduceKind::sum>},
    {"", "ReduceSumSquare", 1, import_reduce<ReduceKind::sum_square>},
};

}  // namespace

std::span<const OpRow> reduce_ops() { return kRows; }

}  // namespace lathe::onnx
