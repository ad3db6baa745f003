// Softmax, LogSoftmax and Hardmax. Before opset 13 they work on the operand flattened to a matrix at the axis.
#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

template <class F>
void over_rows(Context& ctx, F&& along_axis) {
  const Shape& shape = ctx.shape(0);
  const bool flattens = ctx.opset() < 13;
  if (ctx.rank(0) == 0) ctx.invalid("the operand is a scalar");
  const int64_t axis = ctx.resolve_axis(ctx.attr_int("axis", flattens ? 1 : -1), ctx.rank(0));
  if (!flattens || axis == ctx.rank(0) - 1) return ctx.set_output(0, along_axis(ctx.input(0), axis));
  const Dim rows = product(Shape(shape.begin(), shape.begin() + axis)),
            columns = product(Shape(shape.begin() + axis, shape.end()));
  ctx.set_output(0, ctx.reshape(along_axis(ctx.reshape(ctx.input(0), {rows, columns}), 1), shape));
}

template <bool kLog>
void import_softmax(Context& ctx) {
  over_rows(ctx, [&](Value* x, int64_t axis) { return ctx.emit(Softmax{axis, kLog, false}, {x}); });
}

// One at the first largest element of each row, else zero.
void import_hardmax(Context& ctx) {
  over_rows(ctx, [&](Value* x, int64_t axis) {
    Value* largest = ctx.emit(ArgReduce{true, axis, true, false}, {x});
    const int from_end = static_cast<int>(axis - x->type().rank());
    return ctx.map(
        {largest},
        [&](MapProgram& p, const auto& in) {
          return p.cast(p.binary(MapOp::eq, p.iota(from_end), in[0]), ctx.dtype(0));
        },
        x->shape());
  });
}

constexpr OpRow kRows[] = {
    {"", "Hardmax", 1, import_hardmax},
    {"", "LogSoftmax", 1, import_softmax<true>},
    {"", "Softmax", 1, import_softmax<false>},
};

}  // namespace

std::span<const OpRow> softmax_ops() { return kRows; }

}  // namespace lathe::onnx
