// Flash attention in f16 or bf16 on tensor cores (mma.sync m16n8k16, sm_80 and newer), fp32 accumulation. A warp holds
// TILES * 16 rows with their results in registers; keys and values pass through shared memory, copied asynchronously:
// values while scores are computed, the next keys while values are added up. HEAD and VALUE are the head sizes, padded
// to 16. SCORE 2: what is added to the scores of a tile's keys lies in shared memory too. Floor: 4 * rows * keys * head size flops over the tensor peak, or the bytes of keys and values over the
// bandwidth when there are few rows.
#include "attention_rows.cuh"

constexpr int kWarps = THREADS / kWarp;
static_assert(ROWS == kWarps * TILES * 16);
constexpr int kQueryPitch = HEAD + 8;  // an odd number of 16-byte units: no bank conflicts
constexpr int kKeyLines = K_TRANSPOSED ? HEAD : KEYS, kKeyWidth = K_TRANSPOSED ? KEYS : HEAD;
constexpr int kValueLines = V_TRANSPOSED ? VALUE : KEYS, kValueWidth = V_TRANSPOSED ? KEYS : VALUE;
constexpr int kKeyPitch = kKeyWidth + 8, kValuePitch = kValueWidth + 8;

// What is added to the scores of the keys of a tile: each thread fetches those of some keys a tile ahead.
struct KeyBiases {
  float* all;
  float mine[(KEYS + THREADS - 1) / THREADS];

  __device__ void fetch(const AttentionArgs& args, const Part& part, int first) {
#if SCORE == 2
#pragma unroll
    for (int i = 0; i * THREADS < KEYS; ++i) {
      const int key = first + i * THREADS + threadIdx.x;
      mine[i] = key < part.end ? bias_in_powers(args, part, key) : minus_infinity();
    }
#endif
  }
  __device__ void store() const {
    if (SCORE != 2) return;
#pragma unroll
    for (int i = 0; i * THREADS < KEYS; ++i)
      if (i * THREADS + threadIdx.x < KEYS) all[i * THREADS + threadIdx.x] = mine[i];
  }
};

KERNEL(THREADS, AttentionArgs) {
  extern __shared__ __align__(16) u8 memory[];
  T* queries = reinterpret_cast<T*>(memory);
  T* keys = queries + ROWS * kQueryPitch;
  T* values = keys + kKeyLines * kKeyPitch;
  const Part part = Part::of_block(args);
  const T* k = part.line(args.k, part.kv_head);
  const T* v = part.line(args.v, part.kv_head);
  const auto load_keys = [&](int first) {
    const T* from = k + first * args.k.token;
    const i64 stride = K_TRANSPOSED ? args.k.feature : args.k.token;
    const int left = part.keys(args) - first;
    load_strided<kKeyLines, kKeyWidth, kKeyPitch>(keys, from, stride, K_TRANSPOSED ? HEAD_DIM : left,
                                                  K_TRANSPOSED ? left : HEAD_DIM);
    end_of_copies();
  };
  const auto load_values = [&](int first) {
    const T* from = v + first * args.v.token;
    const i64 stride = V_TRANSPOSED ? args.v.feature : args.v.token;
    const int left = part.keys(args) - first;
    load_strided<kValueLines, kValueWidth, kValuePitch>(values, from, stride, V_TRANSPOSED ? VALUE_DIM : left,
                                                        V_TRANSPOSED ? left : VALUE_DIM);
    end_of_copies();
  };

  WarpRows warp(args, part);
  KeyBiases biases{reinterpret_cast<float*>(values + kValueLines * kValuePitch), {}};
  if (part.begin < part.end) {
    load_queries<HEAD, kQueryPitch>(queries, args, part);
    load_keys(part.begin);
    biases.fetch(args, part, part.begin);
  }
  for (int first = part.begin; first < part.end; first += KEYS) {
    wait_for_copies<0>();
    __syncthreads();
    load_values(first);
    biases.store();
    warp.multiply_keys<K_TRANSPOSED>(queries, kQueryPitch, keys, kKeyPitch);
    wait_for_copies<0>();
    __syncthreads();
    if (first + KEYS < part.end) {
      load_keys(first + KEYS);
      biases.fetch(args, part, first + KEYS);
    }
    if (SCORE == 2) warp.add_biases(biases.all);
    if ((SCORE != 2 || CAUSAL) && !warp.needs_no_score(first, part.first_row)) warp.score(first);
    warp.soften(SCORE == 2 ? 1 : score_factor(args));
    warp.rescale_results();
    warp.add_values<V_TRANSPOSED>(values, kValuePitch);
  }
  warp.store();
}
