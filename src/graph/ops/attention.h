// Scaled dot-product attention, with everything exporters wrap around it folded in.
#pragma once

#include "graph/map_program.h"
#include "graph/ops/field_types.h"

namespace lathe {

// Where element (batch b, token s, head h, feature d) lies inside an operand. token_major: [batch, seq, columns],
// column = offset + h * stride + d (a fused QKV product is one operand used thrice); seq_major: [seq, batch, columns],
// likewise (ChatGLM-6B); head_major: [batch, heads, seq, dim], offset and stride unused (an ONNX key/value cache);
// transposed: [batch, heads, dim, seq] (a key cache kept transposed).
enum class HeadOrder : uint8_t { token_major, seq_major, head_major, transposed };

// (q, k, v, extras..) -> y. For each batch and head: softmax over keys of score(scale * q.k, extras..) times v.
// Query head h reads key/value head h / (heads / kv_heads). `score` (empty: identity) maps (scaled product, extras..)
// over the index space [batch, heads, queries, keys]: iota(-1) is the key, iota(-2) the query, iota(-3) the head,
// iota(-4) the batch; extras broadcast to that space. Masks of every spelling live there. Causal: key <= query +
// causal_offset, applied on top. Rows in which every key is masked (-inf) give 0. The output is token_major [batch,
// seq, heads * value_dim], or as output_order says.
//
// Packed: (q, k, v, starts i32 [S + 1], extras..) -> y. The batch is 1, and its T tokens are those of S sequences, one
// after the other: starts[s] .. starts[s + 1] of sequence s, starts[0] = 0 and starts[S] = T. A query sees the keys of
// its own sequence. The index space of the score stays [1, heads, T, T]. No sequence has more than `longest` tokens. q,
// k, v and y are token_major, and causal is not allowed.
struct Attention {
  static constexpr std::string_view kName = "attention";
  int64_t heads = 1, kv_heads = 1;
  int64_t head_dim = 0, value_dim = 0;
  double scale = 1;
  HeadOrder q_order = HeadOrder::token_major, k_order = HeadOrder::token_major, v_order = HeadOrder::token_major;
  HeadOrder output_order = HeadOrder::token_major;
  int64_t q_offset = 0, q_stride = 0, k_offset = 0, k_stride = 0, v_offset = 0, v_stride = 0;
  bool causal = false;
  Dim causal_offset;
  MapProgram score;
  bool packed = false;
  Dim longest;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("heads", s.heads);
    visit("kv_heads", s.kv_heads);
    visit("head_dim", s.head_dim);
    visit("value_dim", s.value_dim);
    visit("scale", s.scale);
    visit("q_order", s.q_order);
    visit("k_order", s.k_order);
    visit("v_order", s.v_order);
    visit("output_order", s.output_order);
    visit("q_offset", s.q_offset);
    visit("q_stride", s.q_stride);
    visit("k_offset", s.k_offset);
    visit("k_stride", s.k_stride);
    visit("v_offset", s.v_offset);
    visit("v_stride", s.v_stride);
    visit("causal", s.causal);
    visit("causal_offset", s.causal_offset);
    visit("score", s.score);
    visit("packed", s.packed);
    visit("longest", s.longest);
  }
};
// The first operand that the score reads.
inline size_t first_extra(const Attention& op) { return op.packed ? 4 : 3; }

// (x, cos, sin) -> y: rotary position embedding of the first rotary_dim features of the last axis; the rest is copied.
// cos and sin broadcast to x's leading axes and have rotary_dim / 2 columns. Pairs are (d, d + rotary_dim / 2), or
// (2d, 2d + 1) when interleaved: (a, b) -> (a cos - b sin, b cos + a sin).
struct Rotary {
  static constexpr std::string_view kName = "rotary";
  int64_t rotary_dim = 0;
  bool interleaved = false;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("rotary_dim", s.rotary_dim);
    visit("interleaved", s.interleaved);
  }
};

}  // namespace lathe
