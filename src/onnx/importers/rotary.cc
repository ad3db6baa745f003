#include "onnx/importers/rotary.h"

#include "onnx/importers/attention_parts.h"

namespace lathe::onnx {

Value* rotate_heads(Context& ctx, Value* x, Value* cos, Value* sin, int64_t heads, RotaryKind kind) {
  const Shape shape = x->shape();
  const bool head_first = shape.size() == 4;
  if (shape.size() != 3 && !head_first) ctx.invalid("the operand of a rotary embedding must have rank 3 or 4");
  if (heads <= 0) ctx.invalid("the number of heads must be positive");
  const Dim dim = head_first ? shape[3] : floor_div(shape[2], Dim(heads));
  Rotary op;
  op.rotary_dim = kind.width != 0 ? kind.width : known_size(ctx, dim, "the width of a head");
  op.interleaved = kind.interleaved;
  // Caches may be wider than what is rotated.
  const auto columns = [&](Value* v) {
    const Dim wanted(op.rotary_dim / 2);
    return ctx.unsqueeze(v->shape().back() == wanted ? v : ctx.slice(v, 2, 0, wanted), {head_first ? 1 : 2});
  };
  Value* split = head_first ? x : ctx.reshape(x, {shape[0], shape[1], Dim(heads), dim});
  Value *c = columns(cos), *s = columns(sin);
  return ctx.reshape(ctx.emit(op, {split, c, s}), shape);
}

}  // namespace lathe::onnx
