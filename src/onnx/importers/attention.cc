// The attention and rotary embedding of the standard domain (opset 23 and later), and attention with subgraphs for
// scores and probabilities.
#include <cmath>

#include "onnx/graph_importer.h"
#include "onnx/importers/attention_parts.h"
#include "onnx/importers/rotary.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

struct Sizes {
  int64_t heads, kv_heads, head_dim, value_dim;
};

// Operands of rank 4 carry their head counts, those of rank 3 need the attributes.
Sizes read_sizes(Context& ctx) {
  const auto heads = [&](size_t i, std::string_view name) {
    return ctx.rank(i) == 4 ? known_size(ctx, ctx.shape(i)[1], "the number of heads") : ctx.required_int(name);
  };
  const auto dim = [&](size_t i, int64_t count) {
    const Dim columns = ctx.shape(i).back();
    return known_size(ctx, ctx.rank(i) == 4 ? columns : floor_div(columns, Dim(count)), "the width of a head");
  };
  Sizes s{heads(0, "q_num_heads"), heads(1, "kv_num_heads"), 0, 0};
  if (s.heads <= 0 || s.kv_heads <= 0) ctx.invalid("the number of heads must be positive");
  s.head_dim = dim(0, s.heads);
  s.value_dim = dim(2, s.kv_heads);
  return s;
}

// [.., queries, keys], with fewer keys than there are padded by what is masked.
void apply_mask(Context& ctx, const Dim& keys, Score& score) {
  if (!ctx.has_input(3)) return;
  Value* mask = ctx.input(3);
  const bool boolean = mask->dtype() == DType::boolean;
  const Dim& given = mask->shape().back();
  if (given.is_constant() && keys.is_constant() && given.value() < keys.value()) {
    Pad pad{PadMode::constant, Shape(mask->shape().size(), Dim(0)), Shape(mask->shape().size(), Dim(0))};
    pad.ends.back() = keys - given;
    std::vector<Value*> operands = {mask};
    if (!boolean) operands.push_back(ctx.scalar(-INFINITY, mask->dtype()));
    mask = ctx.emit(std::move(pad), operands);
  }
  if (boolean)
    score.mask(score.extra(mask));
  else
    score.add_bias(mask);
}

// Each key or value head once for every query head that reads it.
Value* repeat_heads(Context& ctx, Value* x, int64_t times) {
  if (times == 1) return x;
  Shape grouped = x->shape(), merged = x->shape();
  grouped.insert(grouped.begin() + 2, Dim(times));
  merged[1] = merged[1] * Dim(times);
  return ctx.reshape(ctx.expand(ctx.unsqueeze(x, {2}), grouped), merged);
}

// Queries times keys as asked for by qk_matmul_output_mode: 0 scaled, 1 capped, 2 masked, 3 softmax.
void emit_products(Context& ctx, const Sizes& s, const Attention& op, const Heads& q, const Heads& k,
                   const Score& score) {
  const int64_t mode = ctx.attr_int("qk_matmul_output_mode", 0);
  Value *left = head_major(ctx, q, s.heads, s.head_dim), *right = head_major(ctx, k, s.kv_heads, s.head_dim);
  right = repeat_heads(ctx, right, s.heads / s.kv_heads);
  Value* product = ctx.matmul(left, right, false, true);
  product = ctx.binary(MapOp::mul, product, ctx.scalar(op.scale, product->dtype()));
  const double cap = ctx.attr_float("softcap", 0);
  if (mode == 1 && cap != 0) {
    Score capped(product->dtype());
    capped.soft_cap(cap);
    product = ctx.emit(Map{capped.finished(), {}}, {product});
  }
  if (mode >= 2 && !score.empty()) {
    std::vector<Value*> operands = {product};
    operands.insert(operands.end(), score.extras().begin(), score.extras().end());
    product = ctx.emit(Map{score.finished(), {}}, std::move(operands));
  }
  if (mode >= 2 && op.causal) {
    product = ctx.map({product}, [&](MapProgram& p, const auto& in) {
      const int last = p.binary(MapOp::add, p.iota(-2), p.dim(op.causal_offset));
      return p.select(p.binary(MapOp::le, p.iota(-1), last), in[0], p.constant(-INFINITY, product->dtype()));
    });
  }
  ctx.set_output(3, mode == 3 ? ctx.emit(Softmax{3, false, false}, {product}) : product);
}

void import_attention(Context& ctx) {
  const Sizes s = read_sizes(ctx);
  const DType dtype = ctx.dtype(0);
  const Heads q = plain_heads(ctx, ctx.input(0), s.head_dim);
  Value* past = ctx.optional_input(4);
  const Heads k = with_past(ctx, past, plain_heads(ctx, ctx.input(1), s.head_dim), s.kv_heads, s.head_dim);
  const Heads v =
      with_past(ctx, ctx.optional_input(5), plain_heads(ctx, ctx.input(2), s.value_dim), s.kv_heads, s.value_dim);
  Attention op;
  op.heads = s.heads;
  op.kv_heads = s.kv_heads;
  op.head_dim = s.head_dim;
  op.value_dim = s.value_dim;
  op.scale = ctx.attr_float("scale", 1 / std::sqrt(static_cast<double>(s.head_dim)));
  op.causal = ctx.attr_bool("is_causal", false);
  if (past != nullptr) op.causal_offset = past->shape()[2];
  op.output_order = q.order;
  Score score(dtype);
  score.soft_cap(ctx.attr_float("softcap", 0));
  apply_mask(ctx, sequence_length(k), score);
  if (ctx.has_input(6)) {  // the number of keys that are no padding, per batch entry
    Value* lengths = ctx.cast(ctx.reshape(ctx.input(6), {ctx.shape(6)[0], Dim(1), Dim(1), Dim(1)}), DType::i64);
    score.mask(score.program().binary(MapOp::lt, score.program().iota(-1), score.extra(lengths)));
  }
  if (ctx.wants_output(3)) emit_products(ctx, s, op, q, k, score);
  if (ctx.wants_output(1)) ctx.set_output(1, head_major(ctx, k, s.kv_heads, s.head_dim));
  if (ctx.wants_output(2)) ctx.set_output(2, head_major(ctx, v, s.kv_heads, s.value_dim));
  std::vector<Value*> operands = score.finish(op, q, k, v);
  ctx.set_output(0, ctx.emit(std::move(op), std::move(operands)));
}

// A subgraph of one operand and one result, in place. Null when it holds unsupported nodes.
Value* apply_subgraph(Context& ctx, std::string_view name, Value* x) {
  if (!ctx.has_attr(name)) return x;
  const GraphProto& graph = ctx.attr_graph(name);
  if (graph.inputs.size() != 1 || graph.outputs.size() != 1)
    ctx.invalid(fmt::format("the subgraph '{}' must take one tensor and give one", name));
  const size_t reported = ctx.importer().num_unsupported();
  Scope scope(ctx.scope());
  scope.define(graph.inputs[0].name, Binding::of(graph.inputs[0].name, x));
  ctx.importer().import_body(graph, scope);
  if (ctx.importer().num_unsupported() != reported) return nullptr;
  return scope.value(*ctx.importer().outputs(graph, scope)[0]);
}

// What softmax and subgraphs say is plain; the pass that fuses attention finds what it can be.
void import_flex_attention(Context& ctx) {
  const int64_t heads = known_size(ctx, ctx.shape(0).at(1), "the number of heads"),
                kv_heads = known_size(ctx, ctx.shape(1).at(1), "the number of key heads"),
                width = known_size(ctx, ctx.shape(0).back(), "the width of a head");
  if (ctx.rank(0) != 4 || heads % kv_heads != 0) ctx.invalid("the heads do not fit");
  const DType dtype = ctx.dtype(0);
  const DType precision = ctx.attr_dtype("softmax_precision", dtype == DType::f64 ? DType::f64 : DType::f32);
  const int64_t times = heads / kv_heads;
  Value* keys = repeat_heads(ctx, ctx.cast(ctx.input(1), precision), times);
  Value* product = ctx.matmul(ctx.cast(ctx.input(0), precision), keys, false, true);
  const double scale = ctx.attr_float("scale", 1 / std::sqrt(static_cast<double>(width)));
  Value* scores = apply_subgraph(ctx, "score_mod", ctx.binary(MapOp::mul, product, ctx.scalar(scale, precision)));
  if (scores == nullptr) return ctx.poison_outputs();
  Value* shares = apply_subgraph(ctx, "prob_mod", ctx.emit(Softmax{3, false, false}, {scores}));
  if (shares == nullptr) return ctx.poison_outputs();
  ctx.set_output(0, ctx.matmul(ctx.cast(shares, dtype), repeat_heads(ctx, ctx.input(2), times)));
}

// X [batch, heads, seq, dim] or [batch, seq, heads * dim]; caches are tables indexed by positions, or without positions
// [batch, seq, rotary / 2] already.
void import_rotary_embedding(Context& ctx) {
  const bool head_first = ctx.rank(0) == 4;
  const int64_t heads =
      head_first ? known_size(ctx, ctx.shape(0)[1], "the number of heads") : ctx.required_int("num_heads");
  Value *cos = ctx.input(1), *sin = ctx.input(2);
  if (ctx.has_input(3)) {
    cos = ctx.gather(cos, ctx.input(3), 0);
    sin = ctx.gather(sin, ctx.input(3), 0);
  }
  const int64_t width = ctx.attr_int("rotary_embedding_dim", 0);
  ctx.set_output(0, rotate_heads(ctx, ctx.input(0), cos, sin, heads, {width, ctx.attr_bool("interleaved", false)}));
}

constexpr OpRow kRows[] = {
    {"", "Attention", 23, import_attention},
    {"", "RotaryEmbedding", 23, import_rotary_embedding},
    {"ai.onnx.preview", "FlexAttention", 1, import_flex_attention},
};

}  // namespace

std::span<const OpRow> attention_ops() { return kRows; }

}  // namespace lathe::onnx
