// Attention and MultiHeadAttention of com.microsoft, as ONNX Runtime's CPU provider computes them.
#include <cmath>

#include "onnx/importers/attention_parts.h"
#include "onnx/importers/quantize.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

struct Masking {
  Dim batch, queries, keys;
  double filter;  // what is added to the scores of masked keys
};

// The spellings of a padding mask, told apart by shape: [batch] lengths; [2 * batch] ends, then starts; [batch, keys],
// [batch, queries, keys] or [batch, 1, .., keys] of zeros and ones.
void apply_padding_mask(Context& ctx, Value* mask, const Masking& m, Score& score) {
  MapProgram& p = score.program();
  const int64_t rank = mask->type().rank();
  if (rank == 1) {
    const Dim size = mask->shape()[0];
    const auto part = [&](const Dim& start) {
      Value* v = mask->shape()[0] == m.batch ? mask : ctx.slice(mask, 0, start, m.batch);
      return score.extra(ctx.reshape(ctx.cast(v, DType::i64), {m.batch, Dim(1), Dim(1), Dim(1)}));
    };
    if (!(size == m.batch) && !(size == m.batch * Dim(2)))
      ctx.unsupported(fmt::format("a mask of shape {} for a batch of {} is not supported", to_string(mask->shape()),
                                  m.batch.to_string()),
                      "Give the mask as [batch, keys]");
    int keep = p.binary(MapOp::lt, p.iota(-1), part(0));
    if (!(size == m.batch)) keep = p.binary(MapOp::logical_and, keep, p.binary(MapOp::ge, p.iota(-1), part(m.batch)));
    return score.filter(keep, m.filter);
  }
  if (rank == 2) mask = ctx.unsqueeze(mask, {1, 2});
  if (rank == 3) mask = ctx.unsqueeze(mask, {1});
  const Shape& shape = mask->shape();
  if (shape.size() != 4) ctx.invalid("the mask has a rank above 4");
  // A square mask of the longest sequence, cut to the queries and keys at hand.
  if (rank == 4 && !(shape[3] == m.keys)) {
    mask = ctx.slice(ctx.slice(mask, 2, m.keys - m.queries, m.queries), 3, 0, m.keys);
  }
  const int value = score.extra(mask);
  score.filter(p.binary(MapOp::ne, value, p.constant_int(0, mask->dtype())), m.filter);
}

Attention base_op(Context& ctx, int64_t heads, int64_t head_dim, int64_t value_dim) {
  Attention op;
  op.heads = op.kv_heads = heads;
  op.head_dim = head_dim;
  op.value_dim = value_dim;
  op.scale = ctx.attr_float("scale", 0);
  if (op.scale == 0) op.scale = 1 / std::sqrt(static_cast<double>(head_dim));
  op.causal = ctx.attr_bool("unidirectional", false);
  return op;
}

// --- Attention: one operand, projected by fused weights

// input [batch, seq, width] times weights [width, q + k + v], plus bias; the result holds q, k and v side by side.
struct Projected {
  Value* value;
  std::vector<int64_t> widths;  // of q, k, v
};

std::vector<int64_t> projection_widths(Context& ctx, const Dim& columns) {
  std::vector<int64_t> widths = ctx.attr_ints("qkv_hidden_sizes");
  if (widths.empty()) widths.assign(3, known_size(ctx, floor_div(columns, Dim(3)), "the width of the projection"));
  if (widths.size() != 3) ctx.invalid("qkv_hidden_sizes must hold three sizes");
  return widths;
}

Projected project(Context& ctx) {
  MatMul op;
  std::vector<Value*> operands = {ctx.input(0), ctx.input(1)};
  if (ctx.has_input(2)) {
    operands.push_back(ctx.input(2));
    op.epilogue = binary_program(MapOp::add, ctx.dtype(0));
  }
  return {ctx.emit(std::move(op), std::move(operands)), projection_widths(ctx, ctx.shape(1)[1])};
}

// As above on 8-bit operands: (input, weight, bias, input_scale, weight_scale, mask, input_zero, weight_zero, past).
Projected project_quantized(Context& ctx) {
  Value* acc = integer_matmul(ctx, ctx.input(0), ctx.input(1), ctx.optional_input(6), ctx.optional_input(7));
  Value* y = ctx.map({acc, ctx.input(3), ctx.input(4), ctx.input(2)}, [](MapProgram& p, const auto& in) {
    const int scaled = p.binary(MapOp::mul, p.cast(in[0], DType::f32), p.binary(MapOp::mul, in[1], in[2]));
    return p.binary(MapOp::add, scaled, in[3]);
  });
  return {y, projection_widths(ctx, ctx.shape(1)[1])};
}

struct AttentionInputs {
  size_t mask, past, bias;  // operand numbers; bias past the end means none
};

// past and present are [2, batch, heads, seq, dim]: keys, then values.
void attend(Context& ctx, const Projected& qkv, const AttentionInputs& at) {
  const int64_t heads = ctx.required_int("num_heads");
  if (heads <= 0) ctx.invalid("num_heads must be positive");
  if (ctx.attr_bool("do_rotary", false)) ctx.unsupported("rotary embedding inside Attention is not supported");
  const std::vector<int64_t>& w = qkv.widths;
  Attention op = base_op(ctx, heads, w[0] / heads, w[2] / heads);
  const Heads q{qkv.value, HeadOrder::token_major, 0, op.head_dim};
  Heads k{qkv.value, HeadOrder::token_major, w[0], op.head_dim},
      v{qkv.value, HeadOrder::token_major, w[0] + w[1], op.value_dim};
  if (ctx.has_input(at.past)) {
    const auto half = [&](int64_t i) { return ctx.squeeze(ctx.slice(ctx.input(at.past), 0, i, 1), {0}); };
    op.causal_offset = ctx.shape(at.past)[3];
    k = with_past(ctx, half(0), k, heads, op.head_dim);
    v = with_past(ctx, half(1), v, heads, op.value_dim);
  }
  Score score(qkv.value->dtype());
  const Masking masking{qkv.value->shape()[0], sequence_length(q), sequence_length(k),
                        ctx.attr_float("mask_filter_value", -10000)};
  if (ctx.has_input(at.bias)) score.add_bias(ctx.input(at.bias));
  if (ctx.has_input(at.mask)) apply_padding_mask(ctx, ctx.input(at.mask), masking, score);
  if (ctx.wants_output(1)) {
    Value *keys = head_major(ctx, k, heads, op.head_dim), *values = head_major(ctx, v, heads, op.value_dim);
    ctx.set_output(1, ctx.concat({ctx.unsqueeze(keys, {0}), ctx.unsqueeze(values, {0})}, 0));
  }
  std::vector<Value*> operands = score.finish(op, q, k, v);
  ctx.set_output(0, ctx.emit(std::move(op), std::move(operands)));
}

void import_attention(Context& ctx) {
  if (ctx.has_input(6) || ctx.attr_bool("past_present_share_buffer", false))
    ctx.unsupported("a cache buffer shared between past and present is not supported",
                    "Export without past_present_share_buffer");
  attend(ctx, project(ctx), {3, 4, 5});
}

void import_qattention(Context& ctx) { attend(ctx, project_quantized(ctx), {5, 8, SIZE_MAX}); }

// --- MultiHeadAttention: query, key and value apart, or packed into one or two operands

struct Operands {
  Heads q, k, v;
};

// [batch, seq, heads, n, dim] as [batch, seq, heads * n * dim]: n operands interleaved by head.
Heads packed_heads(Context& ctx, size_t input, int64_t which, int64_t dim) {
  const Shape& s = ctx.shape(input);
  const int64_t n = known_size(ctx, s[3], "the number of packed operands");
  return {ctx.reshape(ctx.input(input), {s[0], s[1], s[2] * s[3] * s[4]}), HeadOrder::token_major, which * dim,
          n * dim};
}

// The bias of q, k and v side by side; each part is added where its operand is token-major.
void add_projection_bias(Context& ctx, Operands& o, int64_t heads, int64_t head_dim, int64_t value_dim) {
  if (!ctx.has_input(3)) return;
  int64_t start = 0;
  for (auto [part, dim] : {std::pair(&o.q, head_dim), std::pair(&o.k, head_dim), std::pair(&o.v, value_dim)}) {
    const int64_t width = heads * dim;
    if (part->order == HeadOrder::token_major) {
      if (part->stride != dim) ctx.unsupported("a bias of packed queries, keys and values is not supported");
      part->value = ctx.binary(MapOp::add, part->value, ctx.slice(ctx.input(3), 0, start, width));
    }
    start += width;
  }
}

void import_multi_head_attention(Context& ctx) {
  if (ctx.has_input(8) || ctx.has_input(9))
    ctx.unsupported("a cache buffer shared between past and present is not supported",
                    "Export without past_present_share_buffer");
  const int64_t heads = ctx.required_int("num_heads");
  if (heads <= 0) ctx.invalid("num_heads must be positive");
  const bool packed_qkv = ctx.rank(0) == 5, packed_kv = ctx.has_input(1) && ctx.rank(1) == 5;
  const auto width = [&](size_t i) {
    const Dim last = ctx.shape(i).back();
    return known_size(ctx, ctx.rank(i) == 3 ? floor_div(last, Dim(heads)) : last, "the width of a head");
  };
  const int64_t head_dim = width(0), value_dim = ctx.has_input(2) ? width(2) : head_dim;
  Operands o;
  o.q = packed_qkv ? packed_heads(ctx, 0, 0, head_dim) : plain_heads(ctx, ctx.input(0), head_dim);
  o.k = packed_qkv  ? packed_heads(ctx, 0, 1, head_dim)
        : packed_kv ? packed_heads(ctx, 1, 0, head_dim)
                    : plain_heads(ctx, ctx.input(1), head_dim);
  o.v = packed_qkv  ? packed_heads(ctx, 0, 2, value_dim)
        : packed_kv ? packed_heads(ctx, 1, 1, value_dim)
                    : plain_heads(ctx, ctx.input(2), value_dim);
  add_projection_bias(ctx, o, heads, head_dim, value_dim);
  Attention op = base_op(ctx, heads, head_dim, value_dim);
  if (ctx.has_input(6)) {
    op.causal_offset = ctx.shape(6)[2];
    o.k = with_past(ctx, ctx.input(6), o.k, heads, head_dim);
    o.v = with_past(ctx, ctx.input(7), o.v, heads, value_dim);
  }
  Score score(ctx.dtype(0));
  const Masking masking{o.q.value->shape()[0], sequence_length(o.q), sequence_length(o.k),
                        ctx.attr_float("mask_filter_value", -10000)};
  if (ctx.has_input(5)) score.add_bias(ctx.input(5));
  if (ctx.has_input(4)) apply_padding_mask(ctx, ctx.input(4), masking, score);
  if (ctx.wants_output(1)) ctx.set_output(1, head_major(ctx, o.k, heads, head_dim));
  if (ctx.wants_output(2)) ctx.set_output(2, head_major(ctx, o.v, heads, value_dim));
  std::vector<Value*> operands = score.finish(op, o.q, o.k, o.v);
  ctx.set_output(0, ctx.emit(std::move(op), std::move(operands)));
}

constexpr OpRow kRows[] = {
    {kMicrosoft, "Attention", 1, import_attention},
    {kMicrosoft, "MultiHeadAttention", 1, import_multi_head_attention},
    {kMicrosoft, "QAttention", 1, import_qattention},
};

}  // namespace

std::span<const OpRow> contrib_attention_ops() { return kRows; }

}  // namespace lathe::onnx
