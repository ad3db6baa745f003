// Stores the new keys and values of a step in a paged cache. Where ROTARY is 1 keys are turned on their way there, and
// queries into memory of their own (rotary.cuh); features come in whole packs then, and the cache is of floats. The rows
// of the result that belong to no sequence become 0, and no part of any row is there yet. Floor: the bytes of keys and
// values, read and written, over the bandwidth.
#include "paged_attention.cuh"
#include "paged_store_args.h"
#if ROTARY
#include "rotary.cuh"
#endif

// A warp per row, which finds its scale.
template <int FEATURES>
inline __device__ void store_scaled(const PagedAttentionArgs& args, const T* from, int stride, void* cache,
                                    int sequence, int index) {
  constexpr float kLeastScale = 1.17549435e-38f;
  const int lane = threadIdx.x % kWarp;
  for (int head = threadIdx.x / kWarp; head < KV_HEADS; head += THREADS / kWarp) {
    const T* x = from + head * stride;
    float most = 0, spoilt = 0;
    for (int d = lane; d < FEATURES; d += kWarp) {
      most = fmaxf(most, fabsf(to_float(x[d])));
      spoilt += to_float(x[d]) * 0;  // NaN where x is not finite
    }
    const float scale = fmaxf(warp_reduce<Max>(most) / kLargestCached, kLeastScale) + warp_reduce<Sum>(spoilt);
    Cache* rows = cached_head(args, static_cast<Cache*>(cache), sequence, index, head, FEATURES);
    Cache* to = rows + index % BLOCK_SIZE * FEATURES;
    for (int d = lane; d < FEATURES; d += kWarp) to[d] = to_cached<Cache>(to_float(x[d]) / scale);
    if (lane == 0) reinterpret_cast<float*>(rows + BLOCK_SIZE * FEATURES)[index % BLOCK_SIZE] = scale;
  }
}

// FEATURES columns of each key head.
template <int FEATURES>
inline __device__ void store_heads(const PagedAttentionArgs& args, const void* x, i64 row, int stride, void* cache,
                                   int sequence, int key, int index) {
  const T* from = static_cast<const T*>(x) + key * row;
  if constexpr (kScaledRows) return store_scaled<FEATURES>(args, from, stride, cache, sequence, index);
  Cache* to = cached_head(args, static_cast<Cache*>(cache), sequence, index, 0, FEATURES) +
              index % BLOCK_SIZE * FEATURES;
  for (int i = threadIdx.x * VECTOR; i < KV_HEADS * FEATURES; i += THREADS * VECTOR) {
    const int head = i / FEATURES, d = i % FEATURES;
    const auto pack = load_pack<VECTOR>(from + head * stride + d);
    Pack<Cache, VECTOR> stored;
#pragma unroll
    for (int e = 0; e < VECTOR; ++e) stored[e] = to_cached<Cache>(to_float(pack[e]));
    store_pack<VECTOR>(to + head * head_elements(FEATURES) + d, stored);
  }
}

// No part of any row has arrived yet, and a row that belongs to no sequence is 0.
inline __device__ void clear(const PagedAttentionArgs& args, int key) {
  if (args.splits > 1)
    for (int i = key * THREADS + threadIdx.x; i < args.sequences * kHeads; i += gridDim.x * THREADS)
      PartialRow(args, 0, i, 0).arrived[0] = 0;
  if (key < args.starts[args.sequences] || key >= args.tokens) return;
  T* y = result_row(args, key, 0);
  for (int i = threadIdx.x; i < kHeads * VALUE_DIM; i += THREADS) y[i] = from_float<T>(0);
}

#if ROTARY
inline __device__ void store_turned_key(const PagedStoreArgs& args, int sequence, int key, int index) {
  Cache* to = cached_head(args.attention, static_cast<Cache*>(args.attention.key_cache), sequence, index, 0, HEAD_DIM) +
              index % BLOCK_SIZE * HEAD_DIM;
  const int threads = int(rotary_threads(args.keys));
  for (int i = threadIdx.x; i < KV_HEADS * threads; i += THREADS) {
    const int head = i / threads;
    const Turned turned = turn(args.keys, i64(key) * KV_HEADS + head, i % threads);
    Pack<Cache, VECTOR> low, high;
#pragma unroll
    for (int e = 0; e < VECTOR; ++e) {
      low[e] = to_cached<Cache>(to_float(turned.low[e]));
      high[e] = to_cached<Cache>(to_float(turned.high[e]));
    }
    store_pack<VECTOR>(to + head * head_elements(HEAD_DIM) + turned.low_at, low);
    store_pack<VECTOR>(to + head * head_elements(HEAD_DIM) + turned.high_at, high);
  }
}

inline __device__ void turn_queries(const RotaryArgs& args, int token) {
  const int threads = int(rotary_threads(args));
  for (int i = threadIdx.x; i < kHeads * threads; i += THREADS) {
    const u64 row = u64(token) * kHeads + i / threads;
    store_turned(args, row, turn(args, row, i % threads));
  }
}
#endif

// Blocks of a row: one for its key, one for its value, and where ROTARY is 1 one for its query.
KERNEL(THREADS, PagedStoreArgs) {
  const PagedAttentionArgs& attention = args.attention;
  const int key = blockIdx.x, what = blockIdx.y;
#if ROTARY
  if (what == 2) {
    if (key < attention.tokens) turn_queries(args.queries, key);
    return;
  }
#endif
  if (what == 0) clear(attention, key);
  if (key >= attention.key_starts[attention.sequences]) return;
  const int sequence = find_sequence(attention, key, [&](int s) { return attention.key_starts[s]; });
  const int index = attention.contexts[sequence] - attention.key_starts[sequence + 1] + key;
  if (what == 1)
    return store_heads<VALUE_DIM>(attention, attention.v, attention.v_row, attention.v_stride, attention.value_cache,
                                  sequence, key, index);
#if ROTARY
  store_turned_key(args, sequence, key, index);
#else
  store_heads<HEAD_DIM>(attention, attention.k, attention.k_row, attention.k_stride, attention.key_cache, sequence, key,
                        index);
#endif
}
