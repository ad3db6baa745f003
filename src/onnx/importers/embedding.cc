// EmbedLayerNormalization of com.microsoft: words, positions and segments looked up, summed and normalised.
#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

enum Operand : size_t { words, segments, word_table, position_table, segment_table, gamma, beta, mask, positions };

// The rows before normalisation, which the third output asks for.
Value* embedding_sum(Context& ctx, Value* at) {
  Value* sum = ctx.binary(MapOp::add, ctx.gather(ctx.input(word_table), ctx.input(words), 0),
                          ctx.gather(ctx.input(position_table), at, 0));
  if (!ctx.has_input(segments)) return sum;
  return ctx.binary(MapOp::add, sum, ctx.gather(ctx.input(segment_table), ctx.input(segments), 0));
}

void import_embed_layer_norm(Context& ctx) {
  const Shape& shape = ctx.shape(words);
  if (shape.size() != 2) ctx.invalid("the word ids must be [batch, seq]");
  Value* at = ctx.has_input(positions) ? ctx.input(positions) : ctx.iota({Dim(1), shape[1]}, -1);
  std::vector<Value*> operands = {ctx.input(words), ctx.input(word_table), at, ctx.input(position_table)};
  if (ctx.has_input(segments)) operands.insert(operands.end(), {ctx.input(segments), ctx.input(segment_table)});
  Embedding op;
  op.num_tables = static_cast<int64_t>(operands.size() / 2);
  op.epsilon = ctx.attr_float("epsilon", static_cast<double>(1e-12F));
  operands.insert(operands.end(), {ctx.input(gamma), ctx.input(beta)});
  ctx.set_output(0, ctx.emit(op, std::move(operands)));
  if (ctx.wants_output(1)) {  // the number of words that are no padding, per batch entry
    Value* length = ctx.has_input(mask) ? ctx.reduce(ReduceKind::sum, ctx.cast(ctx.input(mask), DType::i32), {1}, false)
                                        : ctx.expand(ctx.constant(Tensor::scalar<int32_t>(0)), {shape[0]});
    ctx.set_output(1, length);
  }
  if (ctx.wants_output(2)) ctx.set_output(2, embedding_sum(ctx, at));
}

constexpr OpRow kRows[] = {
    {kMicrosoft, "EmbedLayerNormalization", 1, import_embed_layer_norm},
};

}  // namespace

std::span<const OpRow> embedding_ops() { return kRows; }

}  // namespace lathe::onnx
