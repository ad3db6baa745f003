// Tables of com.microsoft: EmbedLayerNormalization looks up words, positions and segments, sums and normalises them;
// RelativePositionBias looks up distances.
#include <cmath>

#include "onnx/importers/context.h"
#include "onnx/importers/quantize.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

enum Operand : size_t { words, segments, word_table, position_table, segment_table, gamma, beta, mask, positions };

struct Tables {
  Value *words, *positions, *segments, *gamma, *beta;  // segments may be null
  Value *mask, *places;                                // both may be null
};

// The rows before normalisation, which the third output asks for.
Value* embedding_sum(Context& ctx, const Tables& t, Value* at) {
  Value* sum = ctx.binary(MapOp::add, ctx.gather(t.words, ctx.input(words), 0), ctx.gather(t.positions, at, 0));
  return t.segments == nullptr ? sum : ctx.binary(MapOp::add, sum, ctx.gather(t.segments, ctx.input(segments), 0));
}

void set_embeddings(Context& ctx, const Tables& t) {
  const Shape& shape = ctx.shape(words);
  if (shape.size() != 2) ctx.invalid("the word ids must be [batch, seq]");
  Value* at = t.places != nullptr ? t.places : ctx.iota({Dim(1), shape[1]}, -1);
  std::vector<Value*> operands = {ctx.input(words), t.words, at, t.positions};
  if (t.segments != nullptr) operands.insert(operands.end(), {ctx.input(segments), t.segments});
  Embedding op;
  op.num_tables = static_cast<int64_t>(operands.size() / 2);
  op.epsilon = ctx.attr_float("epsilon", static_cast<double>(1e-12F));
  operands.insert(operands.end(), {t.gamma, t.beta});
  ctx.set_output(0, ctx.emit(op, std::move(operands)));
  if (ctx.wants_output(1)) {  // the number of words that are no padding, per batch entry
    Value* length = t.mask != nullptr ? ctx.reduce(ReduceKind::sum, ctx.cast(t.mask, DType::i32), {1}, false)
                                      : ctx.expand(ctx.constant(Tensor::scalar<int32_t>(0)), {shape[0]});
    ctx.set_output(1, length);
  }
  if (ctx.wants_output(2)) ctx.set_output(2, embedding_sum(ctx, t, at));
}

void import_embed_layer_norm(Context& ctx) {
  set_embeddings(ctx, {ctx.input(word_table), ctx.input(position_table),
                       ctx.has_input(segments) ? ctx.input(segment_table) : nullptr, ctx.input(gamma), ctx.input(beta),
                       ctx.optional_input(mask), ctx.optional_input(positions)});
}

// The same with tables, gamma and beta in 8 bits: after the mask come their scales, then their zero points.
void import_quantized_embed_layer_norm(Context& ctx) {
  constexpr size_t kTables = 5, kScales = mask + 1;
  const auto wide = [&](size_t i) {
    const size_t scale = kScales + (i - word_table);
    return dequantize(ctx, ctx.input(i),
                      {ctx.reshape(ctx.input(scale), {}), ctx.reshape(ctx.input(scale + kTables), {})}, DType::f32);
  };
  set_embeddings(ctx, {wide(word_table), wide(position_table), ctx.has_input(segments) ? wide(segment_table) : nullptr,
                       wide(gamma), wide(beta), ctx.optional_input(mask), nullptr});
}

// T5's buckets of distances: one each up to half of them, logarithmic ones up to max_distance, the last for all beyond.
int bucket_of(MapProgram& p, int distance, int64_t buckets, double max_distance) {
  const int64_t exact = buckets / 2;
  const double scale = static_cast<double>(buckets - exact) / std::log(max_distance / static_cast<double>(exact));
  const int ratio =
      p.binary(MapOp::div, p.cast(distance, DType::f32), p.constant(static_cast<double>(exact), DType::f32));
  const int steps = p.binary(MapOp::mul, p.unary(MapOp::log, ratio), p.constant(scale, DType::f32));
  const int far = p.binary(MapOp::add, p.cast(steps, DType::i64), p.constant_int(exact, DType::i64));
  return p.select(p.binary(MapOp::lt, distance, p.constant_int(exact, DType::i64)), distance,
                  p.binary(MapOp::min, far, p.constant_int(buckets - 1, DType::i64)));
}

// (table [buckets, heads], number of queries, number of keys) -> [1, heads, queries, keys]. The table is column-major:
// its elements stand head by head.
void import_relative_position_bias(Context& ctx) {
  const Shape queries = ctx.sizes(1), keys = ctx.sizes(2);
  if (ctx.rank(0) != 2 || !ctx.shape(0)[0].is_constant() || queries.size() != 1 || keys.size() != 1)
    ctx.unsupported("the table's size must be known, and one number of queries and of keys");
  const bool both_ways = ctx.attr_bool("is_bidirectional", false);
  const int64_t buckets = ctx.shape(0)[0].value() / (both_ways ? 2 : 1);
  const auto max_distance = static_cast<double>(ctx.required_int("max_distance"));
  const int64_t half = buckets / 2;
  if (half < 1 || max_distance <= static_cast<double>(half)) ctx.invalid("the buckets reach too far");
  Value* bucket = ctx.map(
      {},
      [&](MapProgram& p, const auto&) {
        const int behind = p.binary(MapOp::sub, p.iota(-2), p.iota(-1));  // how far the key is behind the query
        const int zero = p.constant_int(0, DType::i64);
        if (!both_ways) return bucket_of(p, p.binary(MapOp::max, behind, zero), buckets, max_distance);
        const int side = p.select(p.binary(MapOp::lt, behind, zero), p.constant_int(buckets, DType::i64), zero);
        return p.binary(MapOp::add, side, bucket_of(p, p.unary(MapOp::abs, behind), buckets, max_distance));
      },
      Shape{queries[0], keys[0]});
  Value* by_head = ctx.reshape(ctx.input(0), {ctx.shape(0)[1], ctx.shape(0)[0]});
  ctx.set_output(0, ctx.unsqueeze(ctx.gather(by_head, bucket, 1), {0}));
}

constexpr OpRow kRows[] = {
    {kMicrosoft, "EmbedLayerNormalization", 1, import_embed_layer_norm},
    {kMicrosoft, "QEmbedLayerNormalization", 1, import_quantized_embed_layer_norm},
    {kMicrosoft, "RelativePositionBias", 1, import_relative_position_bias},
};

}  // namespace

std::span<const OpRow> embedding_ops() { return kRows; }

}  // namespace lathe::onnx
