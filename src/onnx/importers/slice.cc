// Slice of every opset. ONNX clamps bounds to the axis; the IR wants them resolved. How a bound resolves:
//   constant, or provably not negative and constant axis    min / max expressions, exact
//   an expression over sizes ("past + seq")                 taken to lie inside the axis, as it does in every model
//   that
//                                                           slices a buffer or a mask to its length; checked at run
//                                                           time
//   of unknown sign (read from a tensor)                    clamped by a small program at run time and bound again
#include <algorithm>
#include <numeric>

#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

struct Bound {
  Dim value;
  bool decided = true;  // false: its sign depends on the run
};

// Everything from here on stands for "to the end" in models, whatever the axis.
constexpr int64_t kUnlimited = INT32_MAX;

// A position counted from the start of an axis of `size`, between low and high: 0 and size; downwards, 0 and size - 1
// for a start, where an empty axis leaves -1, and -1 and size - 1 for an end.
Bound resolve_bound(const Dim& given, const Dim& size, const Dim& low, const Dim& high) {
  if (given.is_constant()) {
    const int64_t v = given.value();
    if (v >= kUnlimited) return {high};
    if (v >= 0) return {min(Dim(v), high)};
    if (size + Dim(v) == high) return {high};
    const Dim raised = v <= -kUnlimited ? low : max(size + Dim(v), low);
    const bool may_pass_high = low == Dim(0) && !(high == size);
    return {may_pass_high ? min(raised, high) : raised};
  }
  if (given == size) return {high};
  if (given.is_nonnegative()) return {given};
  if ((-given).is_nonnegative()) return {size + given};  // "-seq" counts from the end
  std::vector<std::string> symbols;
  given.collect_symbols(symbols);
  const bool from_sizes =
      std::none_of(symbols.begin(), symbols.end(), [](const std::string& s) { return s[0] == '$'; });
  // A difference of sizes ("total - seq") is a position from the start.
  return {given, from_sizes};
}

struct Range {
  Dim start, count;
};

// start and end clamped at run time: value < 0 ? value + size : value, then into [low, high].
Range clamp_at_run_time(Context& ctx, const Dim& start, const Dim& end, const Dim& size, int64_t step) {
  Value* bounds = ctx.map({ctx.dims({start, end})}, [&](MapProgram& p, const auto& in) {
    const int zero = p.constant_int(0, DType::i64);
    const int from_start = p.select(p.binary(MapOp::lt, in[0], zero), p.binary(MapOp::add, in[0], p.dim(size)), in[0]);
    const int is_start = p.binary(MapOp::eq, p.iota(-1), zero);
    const int low = step > 0 ? zero : p.select(is_start, zero, p.constant_int(-1, DType::i64));
    const int high = p.dim(step > 0 ? size : size - Dim(1));
    return p.binary(MapOp::min, p.binary(MapOp::max, from_start, low), high);
  });
  const Shape bound = ctx.bind(bounds, 2, Sign::any);
  const Dim span = step > 0 ? bound[1] - bound[0] : bound[0] - bound[1];
  Value* count = ctx.dims({max(ceil_div(span, Dim(std::abs(step))), Dim(0))});
  return {bound[0], ctx.bind(count, 1, Sign::nonnegative)[0]};
}

Range resolve_range(Context& ctx, const Dim& start, const Dim& end, const Dim& size, int64_t step) {
  const Dim high = step > 0 ? size : size - Dim(1);
  const Bound from = resolve_bound(start, size, 0, high), to = resolve_bound(end, size, step > 0 ? 0 : -1, high);
  if (!from.decided || !to.decided) return clamp_at_run_time(ctx, start, end, size, step);
  if (step > 0 && start.is_constant() && start.value() < 0 && start.value() > -kUnlimited && to.value == size) {
    const Dim count = min(Dim(-start.value()), size);  // the last n: shorter, and the same as size - max(size - n, 0)
    return {from.value, ceil_div(count, Dim(step))};
  }
  if (step > 0 && start.is_constant() && start.value() >= 0 && to.value == size)
    return {from.value, max(ceil_div(size - start, Dim(step)), Dim(0))};
  const Dim span = step > 0 ? to.value - from.value : from.value - to.value;
  const Dim count = ceil_div(span, Dim(std::abs(step)));
  // Only constants can run past each other in a model that makes sense; expressions are checked when the model runs.
  return {from.value, count.is_constant() || start.is_constant() ? max(count, Dim(0)) : count};
}

struct Bounds {
  Shape starts, ends;
  std::vector<int64_t> axes, steps;
};

Bounds read_bounds(Context& ctx) {
  Bounds b;
  if (ctx.opset() < 10) {
    const std::vector<int64_t> starts = ctx.attr_ints("starts"), ends = ctx.attr_ints("ends");
    b.starts.assign(starts.begin(), starts.end());
    b.ends.assign(ends.begin(), ends.end());
    b.axes = ctx.attr_ints("axes");
  } else {
    b.starts = ctx.sizes(1, Sign::any);
    b.ends = ctx.sizes(2, Sign::any);
    if (ctx.has_input(3)) b.axes = ctx.integers(3);
    if (ctx.has_input(4)) b.steps = ctx.integers(4);
  }
  const size_t n = b.starts.size();
  if (b.axes.empty()) {
    b.axes.resize(n);
    std::iota(b.axes.begin(), b.axes.end(), 0);
  }
  if (b.steps.empty()) b.steps.assign(n, 1);
  if (b.ends.size() != n || b.axes.size() != n || b.steps.size() != n)
    ctx.invalid("starts, ends, axes and steps differ in length");
  for (int64_t& axis : b.axes) axis = ctx.resolve_axis(axis, ctx.rank(0));
  return b;
}

void import_slice(Context& ctx) {
  const Bounds b = read_bounds(ctx);
  std::vector<size_t> order(b.axes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t x, size_t y) { return b.axes[x] < b.axes[y]; });
  Slice op;
  for (const size_t i : order) {
    const int64_t step = b.steps[i];
    if (step == 0 || step == INT64_MIN) ctx.invalid("a slice has step 0");
    if (!op.axes.empty() && op.axes.back() == b.axes[i]) ctx.invalid("an axis is sliced twice");
    const Dim& size = ctx.shape(0)[static_cast<size_t>(b.axes[i])];
    const Range range = resolve_range(ctx, b.starts[i], b.ends[i], size, step);
    if (range.start == Dim(0) && range.count == size && step == 1) continue;
    op.axes.push_back(b.axes[i]);
    op.starts.push_back(range.start);
    op.sizes.push_back(range.count);
    op.steps.push_back(step);
  }
  if (op.axes.empty()) return ctx.forward(0);
  ctx.set_output(0, ctx.emit(std::move(op), {ctx.input(0)}));
}

constexpr OpRow kRows[] = {
    {"", "Slice", 1, import_slice},
};

}  // namespace

std::span<const OpRow> slice_ops() { return kRows; }

}  // namespace lathe::onnx
