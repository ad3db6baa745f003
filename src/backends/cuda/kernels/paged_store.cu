// Stores the new keys and values of a step in a paged cache, a block per key. The rows of the result that belong to no
// sequence become 0, and no part of any row is there yet. Floor: the bytes of keys and values, read and written, over
// the bandwidth.
#include "paged_attention.cuh"

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

KERNEL(THREADS, PagedAttentionArgs) {
  const int key = blockIdx.x;
  if (args.splits > 1)
    for (int i = key * THREADS + threadIdx.x; i < args.sequences * kHeads; i += gridDim.x * THREADS)
      PartialRow(args, 0, i, 0).arrived[0] = 0;
  if (key >= args.starts[args.sequences] && key < args.tokens) {
    T* y = result_row(args, key, 0);
    for (int i = threadIdx.x; i < kHeads * VALUE_DIM; i += THREADS) y[i] = from_float<T>(0);
  }
  if (key >= args.key_starts[args.sequences]) return;
  const int sequence = find_sequence(args, key, [&](int s) { return args.key_starts[s]; });
  const int index = args.contexts[sequence] - args.key_starts[sequence + 1] + key;
  store_heads<HEAD_DIM>(args, args.k, args.k_row, args.k_stride, args.key_cache, sequence, key, index);
  store_heads<VALUE_DIM>(args, args.v, args.v_row, args.v_stride, args.value_cache, sequence, key, index);
}
