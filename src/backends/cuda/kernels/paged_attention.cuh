// What the kernels for attention over a paged cache share (graph/ops/paged_attention.h says what they compute). Lengths
// and block tables are read on the device, and launches follow from sizes alone, so that a recorded run serves any
// lengths: blocks that find nothing to do return. A row is one query head of one token; row r of a key head of a
// sequence belongs to token r / GROUP and head r % GROUP of the group.
//
// The keys of a sequence with one new token are cut into parts of SPLIT_KEYS, all others are not: how a sequence is
// computed depends on nothing else in the step.
//
// Definitions, besides those of attention_softmax.cuh: CACHE, the type of the cache; KV_HEADS, GROUP query heads for
// each; HEAD_DIM, VALUE_DIM; BLOCK_SIZE; WINDOW (0: none); SPLIT_KEYS; SOFTCAP, SLOPES, PREFIX, CROSS where the keys are
// of another text, and PLAIN_SCALE where the scale is positive (0 or 1); DISTANCES that biases are for (0: no biases).
#pragma once

#include "attention_softmax.cuh"
#include "paged_attention_args.h"

constexpr int kHeads = KV_HEADS * GROUP;
// Scores are more than products times the scale.
constexpr bool kScored = SOFTCAP || SLOPES || DISTANCES > 0 || !PLAIN_SCALE;

// ---- sequences and the keys that their tokens see ----

struct Sequence {
  int number, start, tokens, context;

  __device__ Sequence(const PagedAttentionArgs& args, int s)
      : number(s), start(args.starts[s]), tokens(args.starts[s + 1] - start), context(args.contexts[s]) {}

  __device__ int index(int token) const { return context - tokens + token; }
  __device__ int first_key(int index) const { return WINDOW > 0 ? max(0, index - WINDOW + 1) : 0; }
  __device__ int end_key(const PagedAttentionArgs& args, int index) const {
    if (CROSS) return context;
    const int prefix = PREFIX ? args.prefixes[number] : 0;
    return prefix > index ? min(prefix, context) : index + 1;
  }
  __device__ bool is_split() const { return tokens == 1; }
};

// The last sequence s in which place(s), which never falls, is at most `x`; a warp looks together. -1: none.
template <class Place>
inline __device__ int find_sequence(const PagedAttentionArgs& args, int x, const Place& place) {
  int count = 0;
  for (int first = 0; first < args.sequences; first += kWarp) {
    const int s = first + threadIdx.x % kWarp;
    count += __popc(__ballot_sync(FULL_MASK, s < args.sequences && place(s) <= x));
  }
  return count - 1;
}

// Where row `key` of a head of a sequence lies in a cache with rows of `width` elements.
inline __device__ i64 cached_row(const PagedAttentionArgs& args, int sequence, int key, int head, int width) {
  const i64 block = args.table[i64(sequence) * args.table_width + key / BLOCK_SIZE];
  return ((block * KV_HEADS + head) * BLOCK_SIZE + key % BLOCK_SIZE) * width;
}

// ---- scores ----

// What a head adds to scores for the distance between key and query.
struct PositionTerm {
  float slope;
  const float* biases;

  __device__ PositionTerm(const PagedAttentionArgs& args, int head)
      : slope(SLOPES ? args.slopes[head] : 0), biases(DISTANCES > 0 ? args.biases + head * DISTANCES : nullptr) {}
  __device__ float operator()(int key, int index) const {
    float term = 0;
    if (SLOPES) term += slope * float(key - index);
    if (DISTANCES > 0) term += biases[min(max(index - key, 0), DISTANCES - 1)];
    return term;
  }
};

// What becomes a power of 2 when it is multiplied by score_factor().
inline __device__ float score_of(const PagedAttentionArgs& args, float product, const PositionTerm& term, int key,
                                 int index) {
  if (!kScored) return product;
  float score = args.scale * product;
  if (SOFTCAP) score = args.softcap * tanhf(score / args.softcap);
  return score + term(key, index);
}
inline __device__ float score_factor(const PagedAttentionArgs& args) {
  return kScored ? kLog2e : args.scale * kLog2e;
}

// ---- results ----

inline __device__ T* result_row(const PagedAttentionArgs& args, int token, int head) {
  return static_cast<T*>(args.y) + (i64(token) * kHeads + head) * VALUE_DIM;
}

// Which parts of its keys a sequence with one new token has.
struct Splits {
  int first, count;
  __device__ Splits(int begin, int end)
      : first(begin / SPLIT_KEYS), count((end + SPLIT_KEYS - 1) / SPLIT_KEYS - first) {}
};

// After [sequence][head][split][VALUE_DIM] sums come [sequence][head][split] pairs of the largest score in powers of 2
// and the sum of the exponentials.
struct PartialRow {
  float* sums;
  float* state;

  __device__ PartialRow(const PagedAttentionArgs& args, int sequence, int head, int split) {
    const i64 row = (i64(sequence) * kHeads + head) * args.splits + split;
    sums = args.partial + row * VALUE_DIM;
    state = args.partial + i64(args.sequences) * kHeads * args.splits * VALUE_DIM + row * 2;
  }
};
