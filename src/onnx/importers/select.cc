// TopK, NonZero, NonMaxSuppression, Unique.
#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

// k is an attribute before opset 10, largest and sorted came with opset 11.
void import_top_k(Context& ctx) {
  TopK op;
  op.k = ctx.opset() < 10 ? Dim(ctx.required_int("k")) : ctx.sizes(1).at(0);
  op.axis = ctx.resolve_axis(ctx.attr_int("axis", -1), ctx.rank(0));
  op.largest = ctx.attr_bool("largest", true);
  op.sorted = ctx.attr_bool("sorted", true);
  Node* node = ctx.append(std::move(op), {ctx.input(0)}, 2);
  ctx.set_output(0, node->output(0));
  ctx.set_output(1, node->output(1));
}

void import_non_zero(Context& ctx) {
  Value* x = ctx.input(0);
  if (x->type().ranked && x->type().rank() == 0) x = ctx.reshape(x, {Dim(1)});
  ctx.set_output(0, ctx.emit(NonZero{}, {x}));
}

void import_nms(Context& ctx) {
  Nms op;
  op.max_per_class = ctx.has_input(2) ? ctx.sizes(2).at(0) : Dim(0);
  op.iou_threshold = ctx.constant_number(3, 0);
  if (ctx.has_input(4)) op.score_threshold = ctx.constant_number(4, 0);
  op.center_point = ctx.attr_bool("center_point_box", false);
  ctx.set_output(0, ctx.emit(std::move(op), {ctx.input(0), ctx.input(1)}));
}

void import_unique(Context& ctx) {
  const bool along_axis = ctx.has_attr("axis");
  Extern op;
  op.kernel = "unique";
  op.integers = {ctx.attr_bool("sorted", true), along_axis,
                 along_axis ? ctx.resolve_axis(ctx.attr_int("axis", 0), ctx.rank(0)) : 0};
  Node* node = ctx.append(std::move(op), {ctx.input(0)}, 4);
  for (size_t i = 0; i < 4; ++i) ctx.set_output(i, node->output(i));
}

constexpr OpRow kRows[] = {
    {"", "NonMaxSuppression", 10, import_nms},
    {"", "NonZero", 9, import_non_zero},
    {"", "TopK", 1, import_top_k},
    {"", "Unique", 11, import_unique},
};

}  // namespace

std::span<const OpRow> select_ops() { return kRows; }

}  // namespace lathe::onnx
