// Stores the new keys and values of a step in a paged cache, a block per key. The rows of the result that belong to no
// sequence become 0. Floor: the bytes of keys and values, read and written, over the bandwidth.
#include "paged_attention.cuh"

using Cache = CACHE;

// FEATURES columns of each key head.
template <int FEATURES>
inline __device__ void store_heads(const PagedAttentionArgs& args, const void* x, i64 row, int stride, void* cache,
                                   int sequence, int key, int index) {
  const T* from = static_cast<const T*>(x) + key * row;
  const i64 to = cached_row(args, sequence, index, 0, FEATURES);
  for (int i = threadIdx.x * VECTOR; i < KV_HEADS * FEATURES; i += THREADS * VECTOR) {
    const int head = i / FEATURES, d = i % FEATURES;
    const auto pack = load_pack<VECTOR>(from + head * stride + d);
    Pack<Cache, VECTOR> stored;
#pragma unroll
    for (int e = 0; e < VECTOR; ++e) stored[e] = from_float<Cache>(to_float(pack[e]));
    store_pack<VECTOR>(static_cast<Cache*>(cache) + to + i64(head) * BLOCK_SIZE * FEATURES + d, stored);
  }
}

KERNEL(THREADS, PagedAttentionArgs) {
  const int key = blockIdx.x;
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
