// Sequences and optionals.
#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

Value* position(Context& ctx, size_t i) { return ctx.has_input(i) ? ctx.reshape(ctx.input(i), {}) : nullptr; }

std::vector<Value*> with(std::vector<Value*> operands, Value* optional) {
  if (optional != nullptr) operands.push_back(optional);
  return operands;
}

Sequence of_kind(SequenceKind kind) {
  Sequence op;
  op.kind = kind;
  return op;
}

void import_construct(Context& ctx) { ctx.set_output(0, ctx.emit(of_kind(SequenceKind::construct), ctx.all_inputs())); }

void import_empty(Context& ctx) {
  Sequence op = of_kind(SequenceKind::construct);
  op.dtype = ctx.attr_dtype("dtype", DType::f32);
  ctx.set_output(0, ctx.emit(op, {}));
}

void import_insert(Context& ctx) {
  ctx.set_output(0, ctx.emit(of_kind(SequenceKind::insert), with({ctx.input(0), ctx.input(1)}, position(ctx, 2))));
}

void import_erase(Context& ctx) {
  ctx.set_output(0, ctx.emit(of_kind(SequenceKind::erase), with({ctx.input(0)}, position(ctx, 1))));
}

void import_at(Context& ctx) {
  ctx.set_output(0, ctx.emit(of_kind(SequenceKind::at), {ctx.input(0), position(ctx, 1)}));
}

void import_length(Context& ctx) { ctx.set_output(0, ctx.emit(of_kind(SequenceKind::length), {ctx.input(0)})); }

void import_split(Context& ctx) {
  Sequence op = of_kind(SequenceKind::split);
  op.axis = ctx.resolve_axis(ctx.attr_int("axis", 0), ctx.rank(0));
  op.keep_dims = ctx.attr_bool("keepdims", true);
  ctx.set_output(0, ctx.emit(op, with({ctx.input(0)}, ctx.optional_input(1))));
}

void import_concat(Context& ctx) {
  Sequence op = of_kind(SequenceKind::concat);
  op.new_axis = ctx.attr_bool("new_axis", false);
  op.axis = ctx.required_int("axis");
  if (op.axis < 0) {
    if (!ctx.type(0).ranked)
      ctx.unsupported("an axis counted from the end of elements of unknown rank is not supported");
    op.axis = ctx.resolve_axis(op.axis, ctx.type(0).rank() + (op.new_axis ? 1 : 0));
  }
  ctx.set_output(0, ctx.emit(op, {ctx.input(0)}));
}

void import_optional(Context& ctx) {
  if (!ctx.has_input(0)) ctx.unsupported("an optional without value and type is not supported");
  ctx.set_output(0, ctx.emit(of_kind(SequenceKind::optional_make), {ctx.input(0)}));
}

void import_optional_has(Context& ctx) {
  if (!ctx.has_input(0)) return ctx.set_output(0, Tensor::scalar(false));
  const Type::Kind kind = ctx.type(0).kind;
  if (kind == Type::Kind::tensor || kind == Type::Kind::sequence) return ctx.set_output(0, Tensor::scalar(true));
  ctx.set_output(0, ctx.emit(of_kind(SequenceKind::optional_has), {ctx.input(0)}));
}

void import_optional_get(Context& ctx) {
  const Type::Kind kind = ctx.type(0).kind;
  if (kind == Type::Kind::tensor || kind == Type::Kind::sequence) return ctx.forward(0);
  ctx.set_output(0, ctx.emit(of_kind(SequenceKind::optional_get), {ctx.input(0)}));
}

constexpr OpRow kRows[] = {
    {"", "ConcatFromSequence", 11, import_concat},
    {"", "Optional", 15, import_optional},
    {"", "OptionalGetElement", 15, import_optional_get},
    {"", "OptionalHasElement", 15, import_optional_has},
    {"", "SequenceAt", 11, import_at},
    {"", "SequenceConstruct", 11, import_construct},
    {"", "SequenceEmpty", 11, import_empty},
    {"", "SequenceErase", 11, import_erase},
    {"", "SequenceInsert", 11, import_insert},
    {"", "SequenceLength", 11, import_length},
    {"", "SplitToSequence", 11, import_split},
};

}  // namespace

std::span<const OpRow> sequence_ops() { return kRows; }

}  // namespace lathe::onnx
