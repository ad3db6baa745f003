// What the kernels for attention over a paged cache share (graph/ops/paged_attention.h says what they compute). Lengths
// and block tables are read on the device, and launches follow from sizes alone, so that a recorded run serves any
// lengths: blocks that find nothing to do return. A row is one query head of one token; row r of a key head of a
// sequence belongs to token r / GROUP and head r % GROUP of the group.
//
// The keys of a sequence with one new token are cut into parts of SPLIT_KEYS, all others are not: how a sequence is
// computed depends on nothing else in the step. The warp that finishes the last part of a row joins them, in their
// order.
//
// Definitions, besides those of attention_softmax.cuh: CACHE, the type of the cache (rows of i8 and e4m3 have scales:
// graph/paged_cache.h); KV_HEADS, GROUP query heads for each; HEAD_DIM, VALUE_DIM; BLOCK_SIZE; WINDOW (0: none),
// which begins at its multiples where CHUNKED; SPLIT_KEYS; SOFTCAP, SLOPES, PREFIX, SINKS; CROSS where the keys are of
// another text, and PLAIN_SCALE where the scale is positive; UNIFORM: also how a sequence is cut into steps does not
// matter (0 or 1); DISTANCES that biases are for (0: no biases).
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
  __device__ int first_key(int index) const {
    if constexpr (WINDOW == 0) return 0;
    return CHUNKED ? index - index % max(WINDOW, 1) : max(0, index - WINDOW + 1);
  }
  __device__ int end_key(const PagedAttentionArgs& args, int index) const {
    if (CROSS) return context;
    const int prefix = PREFIX ? args.prefixes[number] : 0;
    return prefix > index ? min(prefix, context) : index + 1;
  }
  __device__ bool is_split() const { return tokens == 1 && !UNIFORM; }
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

// ---- rows of a cache ----

template <class A, class B>
constexpr bool is_same = false;
template <class A>
constexpr bool is_same<A, A> = true;

using Cache = CACHE;
constexpr bool kScaledRows = sizeof(Cache) == 1;
constexpr float kLargestCached = is_same<Cache, e4m3> ? 448 : 127;

// Elements from one head of a block to the next; the scales stand for four elements of each row.
constexpr int head_elements(int width) { return BLOCK_SIZE * (width + (kScaledRows ? int(sizeof(float)) : 0)); }

// The number of the block of a sequence that holds a key.
inline __device__ int cached_block(const PagedAttentionArgs& args, int sequence, int key) {
  return args.table[i64(sequence) * args.table_width + key / BLOCK_SIZE];
}
// What a block holds of a head.
template <class C>
inline __device__ C* cached_head(C* cache, i64 block, int head, int width) {
  return cache + (block * KV_HEADS + head) * head_elements(width);
}
// The same of the block of a sequence that holds a key.
template <class C>
inline __device__ C* cached_head(const PagedAttentionArgs& args, C* cache, int sequence, int key, int head, int width) {
  return cached_head(cache, cached_block(args, sequence, key), head, width);
}

// Row `key` of a head of a sequence, in a cache with rows of `width` elements.
inline __device__ const Cache* cached_row(const PagedAttentionArgs& args, const void* cache, int sequence, int key,
                                          int head, int width) {
  return cached_head(args, static_cast<const Cache*>(cache), sequence, key, head, width) + key % BLOCK_SIZE * width;
}
// The scale of row `key`, in a block that begins at `head`.
inline __device__ float cached_scale(const Cache* head, int key, int width) {
  if constexpr (!kScaledRows) return 1;
  return reinterpret_cast<const float*>(head + BLOCK_SIZE * width)[key % BLOCK_SIZE];
}
// The same of a sequence.
inline __device__ float cached_scale(const PagedAttentionArgs& args, const void* cache, int sequence, int key, int head,
                                     int width) {
  if constexpr (!kScaledRows) return 1;
  return cached_scale(cached_head(args, static_cast<const Cache*>(cache), sequence, key, head, width), key, width);
}

constexpr float kExponentShift = 0x1p120f;

template <class C>
inline __device__ float cached_to_float(C x) {
  return to_float(x);
}
inline __device__ float cached_to_float(i8 x) { return float(x); }
// Sign, exponent and mantissa go to their places; a multiplication puts the exponent right, subnormals included.
inline __device__ float cached_to_float(e4m3 x) {
  return __uint_as_float((x.bits & 0x80u) << 24 | (x.bits & 0x7fu) << 20) * kExponentShift;
}

// What is stored for x, at most kLargestCached where rows have scales; half to even.
template <class C>
inline __device__ C to_cached(float x) {
  if constexpr (is_same<C, i8>) {
    return i8(__float2int_rn(x));
  } else if constexpr (is_same<C, e4m3>) {
    const u32 bits = __float_as_uint(x * (1 / kExponentShift)), magnitude = bits & 0x7fffffffu;
    return {u8((magnitude + 0x7ffffu + (magnitude >> 20 & 1)) >> 20 | (bits >> 24 & 0x80u))};
  } else {
    return from_float<C>(x);
  }
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

// The state of a row before its first key: in the first part of its keys, its sink has been seen. Of lanes that share
// the sum of exponentials, one `counts` it.
inline __device__ RowState first_state(const PagedAttentionArgs& args, int head, int split, bool counts) {
  RowState state;
  if (!SINKS || split > 0) return state;
  state.largest = args.sinks[head] * kLog2e;
  state.sum = counts && state.largest != minus_infinity() ? 1 : 0;
  return state;
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

// The parts of a row: [sequence][head][split][VALUE_DIM] sums, then [sequence][head][split] pairs of the largest score
// in powers of 2 and the sum of the exponentials, then for each [sequence][head] how many parts are there.
struct PartialRow {
  float* sums;
  float* state;
  int* arrived;

  __device__ PartialRow(const PagedAttentionArgs& args, int sequence, int head, int split) {
    const i64 rows = i64(args.sequences) * kHeads, row = i64(sequence) * kHeads + head;
    sums = args.partial + (row * args.splits + split) * VALUE_DIM;
    state = args.partial + rows * args.splits * VALUE_DIM + (row * args.splits + split) * 2;
    arrived = reinterpret_cast<int*>(args.partial + rows * args.splits * (VALUE_DIM + 2)) + row;
  }
};

// Whether the parts of a row are all stored once this warp has stored `done` of them; true for one warp alone.
inline __device__ bool completes_parts(int* arrived, int done, int parts) {
  __threadfence();
  __syncwarp();
  int before = threadIdx.x % kWarp == 0 ? atomicAdd(arrived, done) : 0;
  before = __shfl_sync(FULL_MASK, before, 0);
  __threadfence();
  return before + done == parts;
}

// Read where other multiprocessors have written.
inline __device__ float load_shared_by_all(const float* from) {
  float x;
  asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(x) : "l"(from));
  return x;
}

// Joins the parts of a row: its result, by one warp. Each lane weighs one part at a time, so that nothing waits twice.
inline __device__ void join_parts(const PagedAttentionArgs& args, const Sequence& sequence, int head, int parts) {
  constexpr int kColumns = (VALUE_DIM + kWarp - 1) / kWarp;
  const PartialRow row(args, sequence.number, head, 0);
  const int lane = threadIdx.x % kWarp;
  RowState joined;
  float totals[kColumns] = {};
  for (int first = 0; first < parts; first += kWarp) {
    float largest = minus_infinity(), sum = 0;
    if (first + lane < parts) {
      sum = load_shared_by_all(row.state + 2 * (first + lane) + 1);
      largest = load_shared_by_all(row.state + 2 * (first + lane));
    }
    if (sum == 0) largest = minus_infinity();
    const float rescale = joined.raise(warp_reduce<Max>(largest), 1), weight = joined.power(largest, 1);
    joined.sum += warp_reduce<Sum>(sum * weight);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) totals[c] *= rescale;
#pragma unroll 8
    for (int part = first; part < min(first + kWarp, parts); ++part) {
      const float of_part = __shfl_sync(FULL_MASK, weight, part - first);
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        const int column = c * kWarp + lane;
        if (column < VALUE_DIM) totals[c] += load_shared_by_all(row.sums + part * VALUE_DIM + column) * of_part;
      }
    }
  }
  T* to = result_row(args, sequence.start, head);
#pragma unroll
  for (int c = 0; c < kColumns; ++c)
    if (c * kWarp + lane < VALUE_DIM) to[c * kWarp + lane] = from_float<T>(totals[c] * joined.scale_of_result());
}
