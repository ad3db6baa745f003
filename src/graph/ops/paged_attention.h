// Attention of a decoder over a paged cache: the op that writes keys and values where they stay, and reads those of
// whole conversations through block tables.
#pragma once

#include <array>

#include "graph/ops/field_types.h"

namespace lathe {

// (q, k, v, key_cache, value_cache, sequence_starts, context_lengths, block_table, prefix_lengths or none, slopes or
// none, biases or none, key_starts or none, sinks or none) -> y [T, heads * value_dim], for T tokens of S sequences,
// chunks of prompts and single tokens alike.
//
// q, k, v: [T, columns], positions already applied; feature d of head h is column offset + h * stride + d, so that a
// fused product may stand thrice. Query head h reads key/value head h / (heads / kv_heads).
// key_cache [N, kv_heads, block_size, head_dim], value_cache [.., value_dim]: N blocks, f32, f16, bf16 or 8 bits with a
// scale a row (graph/paged_cache.h), written in place (see written_operands). Operands 5 to 8 are i32: sequence_starts
// [S + 1], context_lengths [S], block_table [S, B], prefix_lengths [S]; slopes is f32 [heads], biases f32 [heads, D].
//
// Token t with starts[s] <= t < starts[s + 1] belongs to sequence s; tokens from starts[S] on belong to none, and their
// rows of y are 0. context_lengths[s] counts the keys of s once the new ones are in, so t has the index
//   j = context_lengths[s] - starts[s + 1] + t,
// and is stored in row j % block_size of block block_table[s][j / block_size], rounded to the cache's type. When all
// are stored, each head of t attends to the keys j' < context_lengths[s] of s with
//   (j' <= j or j' < prefix_lengths[s]) and (window = 0 or j' > j - window), or j' >= j - j % window where `chunked`:
// softmax of f(scale * q.k) + slopes[head] * j' + biases[head][d], times v; f(x) = softcap * tanh(x / softcap), or x
// when softcap = 0; d = j - j', but at least 0 and at most D - 1. sinks, f32 [heads], are scores of one more key each,
// whose values are 0: part of what goes to the others goes nowhere. Entries of the table beyond what a sequence needs
// are never read. Two sequences may share blocks that neither writes.
//
// With key_starts, i32 [S + 1], attention is to another text than that of the queries: k and v are [U, columns], rows
// key_starts[s] to key_starts[s + 1] are the new keys of s, often none, and every token of s attends to all of its
// context. Prefixes, slopes, biases and windows, which count from the query, are not for it.
struct PagedAttention {
  static constexpr std::string_view kName = "paged_attention";
  static constexpr std::array<size_t, 2> kWrittenOperands = {3, 4};
  int64_t heads = 1, kv_heads = 1;
  int64_t head_dim = 0, value_dim = 0;
  int64_t block_size = 0;
  double scale = 1;
  int64_t window = 0;
  bool chunked = false;  // windows begin at multiples of their size
  double softcap = 0;
  int64_t q_offset = 0, q_stride = 0, k_offset = 0, k_stride = 0, v_offset = 0, v_stride = 0;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("heads", s.heads);
    visit("kv_heads", s.kv_heads);
    visit("head_dim", s.head_dim);
    visit("value_dim", s.value_dim);
    visit("block_size", s.block_size);
    visit("scale", s.scale);
    visit("window", s.window);
    visit("chunked", s.chunked);
    visit("softcap", s.softcap);
    visit("q_offset", s.q_offset);
    visit("q_stride", s.q_stride);
    visit("k_offset", s.k_offset);
    visit("k_stride", s.k_stride);
    visit("v_offset", s.v_offset);
    visit("v_stride", s.v_stride);
  }
};

}  // namespace lathe
