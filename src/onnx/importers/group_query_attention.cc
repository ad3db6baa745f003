// GroupQueryAttention and RotaryEmbedding of com.microsoft. Batch entries may have pasts of different lengths: entry
// b's new keys come after its first past_b cached ones, where past_b = seqlens_k[b] + 1 - new, or 0 for a first prompt.
#include <cmath>

#include "onnx/importers/attention_parts.h"
#include "onnx/importers/rotary.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

enum Operand : size_t {
  query,
  key,
  value,
  past_key,
  past_value,
  seqlens,
  total,
  cos_cache,
  sin_cache,
  positions,
  bias,
  sink
};

struct Layout {
  int64_t heads, kv_heads, dim;
  Dim batch, fresh;  // fresh: the number of new tokens
};

struct NewTokens {
  Value *q, *k, *v;  // [batch, fresh, heads * dim]
};

// Query, key and value may come side by side in one operand.
NewTokens split_projection(Context& ctx, Layout& layout) {
  const Dim columns = ctx.shape(query).back();
  layout.batch = ctx.shape(query)[0];
  layout.fresh = ctx.shape(query)[1];
  const bool packed = !ctx.has_input(key);
  layout.dim = known_size(ctx, floor_div(columns, Dim(packed ? layout.heads + 2 * layout.kv_heads : layout.heads)),
                          "the width of a head");
  if (!packed) return {ctx.input(query), ctx.input(key), ctx.input(value)};
  const int64_t q_width = layout.heads * layout.dim, kv_width = layout.kv_heads * layout.dim;
  Value* all = ctx.input(query);
  return {ctx.slice(all, 2, 0, q_width), ctx.slice(all, 2, q_width, kv_width),
          ctx.slice(all, 2, q_width + kv_width, kv_width)};
}

// past_b as i64 [batch].
Value* past_lengths(Context& ctx, const Layout& layout, const Dim& total_length) {
  return ctx.map({ctx.reshape(ctx.input(seqlens), {layout.batch})}, [&](MapProgram& p, const auto& in) {
    const int fresh = p.dim(layout.fresh), one = p.constant_int(1, DType::i64);
    const int after = p.binary(MapOp::sub, p.binary(MapOp::add, p.cast(in[0], DType::i64), one), fresh);
    return p.select(p.binary(MapOp::eq, fresh, p.dim(total_length)), p.constant_int(0, DType::i64), after);
  });
}

// Positions of the new tokens, [batch, fresh].
Value* token_positions(Context& ctx, const Layout& layout, Value* past) {
  if (ctx.has_input(positions)) return ctx.input(positions);
  return ctx.map(
      {ctx.unsqueeze(past, {1})}, [](MapProgram& p, const auto& in) { return p.binary(MapOp::add, in[0], p.iota(-1)); },
      Shape{layout.batch, layout.fresh});
}

// The cache with the new tokens put in: token t of entry b is past[t] before past_b, and new[t - past_b] from there on.
// Of equal lengths (a batch of one) that is the two joined.
Value* present_cache(Context& ctx, const Layout& layout, Value* past_cache, Value* fresh, Value* past,
                     const Dim& total_length) {
  if (past_cache == nullptr) return fresh;
  const Dim cached = past_cache->shape()[2], size = max(cached, total_length);
  Value* joined = ctx.concat({past_cache, fresh}, 2);
  const Dim both = cached + layout.fresh;
  Value* rows = ctx.map(
      {ctx.reshape(past, {layout.batch, Dim(1), Dim(1)})},
      [&](MapProgram& p, const auto& in) {
        const int t = p.iota(-1), last = p.dim(both - Dim(1));
        const int moved = p.binary(MapOp::add, p.binary(MapOp::sub, t, in[0]), p.dim(cached));
        // Tokens that no entry has are whatever lies there; they are masked.
        const int from = p.binary(MapOp::min, p.select(p.binary(MapOp::lt, t, in[0]), t, moved), last);
        const int head = p.binary(
            MapOp::add, p.binary(MapOp::mul, p.iota(-3), p.constant_int(layout.kv_heads, DType::i64)), p.iota(-2));
        return p.binary(MapOp::add, p.binary(MapOp::mul, head, p.dim(both)), from);
      },
      Shape{layout.batch, Dim(layout.kv_heads), size});
  Value* flat = ctx.reshape(joined, {layout.batch * Dim(layout.kv_heads) * both, Dim(layout.dim)});
  return ctx.gather(flat, rows, 0);
}

// Causal per entry, and limited to a window where the model asks for one.
void mask_scores(Context& ctx, const Layout& layout, Value* past, Score& score) {
  MapProgram& p = score.program();
  const int before = score.extra(ctx.reshape(past, {layout.batch, Dim(1), Dim(1), Dim(1)}));
  const int position = p.binary(MapOp::add, p.iota(-2), before);
  int keep = p.binary(MapOp::le, p.iota(-1), position);
  const int64_t window = ctx.attr_int("local_window_size", -1);
  if (window > 0) {
    const int first = p.binary(MapOp::sub, position, p.constant_int(window, DType::i64));
    keep = p.binary(MapOp::logical_and, keep, p.binary(MapOp::gt, p.iota(-1), first));
  }
  score.mask(keep);
}

void check_supported(Context& ctx) {
  if (ctx.attr_bool("smooth_softmax", false) || ctx.has_input(sink))
    ctx.unsupported("attention sinks are not supported");
  if (ctx.attr_int("kv_cache_bit_width", 0) != 0) ctx.unsupported("a quantised cache is not supported");
  if (ctx.num_outputs() > 3 && ctx.wants_output(3))
    ctx.unsupported("the product of queries and keys as an output is not supported");
  if (ctx.has_input(past_key) != ctx.has_input(past_value)) ctx.invalid("past_key and past_value belong together");
}

void import_group_query_attention(Context& ctx) {
  check_supported(ctx);
  Layout layout{ctx.required_int("num_heads"), ctx.required_int("kv_num_heads"), 0, {}, {}};
  if (layout.heads <= 0 || layout.kv_heads <= 0) ctx.invalid("the number of heads must be positive");
  NewTokens tokens = split_projection(ctx, layout);
  const Dim total_length = ctx.sizes(total).at(0);
  Value* past = past_lengths(ctx, layout, total_length);
  if (ctx.attr_bool("do_rotary", false)) {
    Value* at = token_positions(ctx, layout, past);
    Value *cos = ctx.gather(ctx.input(cos_cache), at, 0), *sin = ctx.gather(ctx.input(sin_cache), at, 0);
    const RotaryKind kind{2 * known_size(ctx, cos->shape().back(), "the width of the rotation"),
                          ctx.attr_bool("rotary_interleaved", false)};
    tokens.q = rotate_heads(ctx, tokens.q, cos, sin, layout.heads, kind);
    tokens.k = rotate_heads(ctx, tokens.k, cos, sin, layout.kv_heads, kind);
  }
  const auto cache = [&](size_t operand, Value* fresh) {
    Value* heads = head_major(ctx, plain_heads(ctx, fresh, layout.dim), layout.kv_heads, layout.dim);
    return present_cache(ctx, layout, ctx.optional_input(operand), heads, past, total_length);
  };
  const Heads q = plain_heads(ctx, tokens.q, layout.dim);
  const Heads k{cache(past_key, tokens.k), HeadOrder::head_major, 0, 0},
      v{cache(past_value, tokens.v), HeadOrder::head_major, 0, 0};
  Attention op;
  op.heads = layout.heads;
  op.kv_heads = layout.kv_heads;
  op.head_dim = op.value_dim = layout.dim;
  op.scale = ctx.attr_float("scale", 0);
  if (op.scale == 0) op.scale = 1 / std::sqrt(static_cast<double>(layout.dim));
  Score score(ctx.dtype(query));
  score.soft_cap(ctx.attr_float("softcap", 0));
  if (ctx.has_input(bias)) score.add_bias(ctx.input(bias));
  mask_scores(ctx, layout, past, score);
  std::vector<Value*> operands = score.finish(op, q, k, v);
  ctx.set_output(0, ctx.emit(std::move(op), std::move(operands)));
  ctx.set_output(1, k.value);
  ctx.set_output(2, v.value);
}

// (x, position_ids, cos_cache, sin_cache); one position id is the position of the first token.
void import_rotary_embedding(Context& ctx) {
  if (ctx.attr_bool("is_packed_batching", false)) ctx.unsupported("packed batches are not supported");
  const bool head_first = ctx.rank(0) == 4;
  const Shape& shape = ctx.shape(0);
  const Dim fresh = shape[head_first ? 2 : 1];
  int64_t heads = ctx.attr_int("num_heads", 0);
  const int64_t width = ctx.attr_int("rotary_embedding_dim", 0);
  if (head_first) heads = known_size(ctx, shape[1], "the number of heads");
  // Without a head count, the cache's width is that of a head.
  if (heads == 0) heads = known_size(ctx, floor_div(shape[2], ctx.shape(2)[1] * Dim(2)), "the number of heads");
  Value* at = ctx.input(1);
  if (at->type().rank() == 1) {
    at = ctx.map(
        {at}, [](MapProgram& p, const auto& in) { return p.binary(MapOp::add, in[0], p.iota(-1)); },
        Shape{Dim(1), fresh});
  }
  Value *cos = ctx.gather(ctx.input(2), at, 0), *sin = ctx.gather(ctx.input(3), at, 0);
  ctx.set_output(0, rotate_heads(ctx, ctx.input(0), cos, sin, heads, {width, ctx.attr_bool("interleaved", false)}));
}

constexpr OpRow kRows[] = {
    {kMicrosoft, "GroupQueryAttention", 1, import_group_query_attention},
    {kMicrosoft, "RotaryEmbedding", 1, import_rotary_embedding},
};

}  // namespace

std::span<const OpRow> group_query_attention_ops() { return kRows; }

}  // namespace lathe::onnx
