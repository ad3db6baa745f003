// Flash attention in f16 or bf16 on tensor cores (mma.sync m16n8k16, sm_80 and newer), fp32 accumulation. A warp holds
// TILES * 16 rows with their results in registers; keys and values pass through shared memory, copied asynchronously:
// values while scores are computed, the next keys while values are added up. HEAD and VALUE are the head sizes, padded
// to 16. Floor: 4 * rows * keys * head size flops over the tensor peak, or the bytes of keys and values over the
// bandwidth when there are few rows.
#include "attention_rows.cuh"

constexpr int kWarps = THREADS / kWarp;
static_assert(ROWS == kWarps * TILES * 16);
constexpr int kQueryPitch = HEAD + 8;  // an odd number of 16-byte units: no bank conflicts
constexpr int kKeyLines = K_TRANSPOSED ? HEAD : KEYS, kKeyWidth = K_TRANSPOSED ? KEYS : HEAD;
constexpr int kValueLines = V_TRANSPOSED ? VALUE : KEYS, kValueWidth = V_TRANSPOSED ? KEYS : VALUE;
constexpr int kKeyPitch = kKeyWidth + 8, kValuePitch = kValueWidth + 8;

// ---- operands of tensor cores ----

// The left operand: 16 rows from `row` on, 16 columns.
inline __device__ void load_left(u32 (&a)[4], const T* tile, int pitch, int row, int column) {
  const int lane = threadIdx.x % kWarp;
  load_matrices_at<false>(a, shared_address(tile + (row + lane % 16) * pitch + column + lane / 16 * 8));
}
// The right operand for 16 results n and 16 terms k; the lines of the tile are the n, or the k.
template <bool LINES_ARE_TERMS>
inline __device__ void load_right(u32 (&b)[4], const T* tile, int pitch, int n, int k) {
  const int lane = threadIdx.x % kWarp;
  if constexpr (LINES_ARE_TERMS)
    load_matrices_at<true>(b, shared_address(tile + (k + lane % 16) * pitch + n + lane / 16 * 8));
  else
    load_matrices_at<false>(b, shared_address(tile + (n + lane % 8 + lane / 16 * 8) * pitch + k + lane / 8 % 2 * 8));
}

// ---- the kernel ----

struct Warp : WarpRows {
  using WarpRows::WarpRows;

  __device__ void multiply_keys(const T* queries, const T* keys) {
#pragma unroll
    for (int m = 0; m < TILES; ++m)
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[m][n][i] = 0;
#pragma unroll
    for (int k = 0; k < HEAD; k += 16) {
      u32 left[TILES][4];
#pragma unroll
      for (int m = 0; m < TILES; ++m)
        load_left(left[m], queries, kQueryPitch, (threadIdx.x / kWarp * TILES + m) * 16, k);
#pragma unroll
      for (int n = 0; n < kKeyTiles; n += 2) {
        u32 right[4];
        load_right<K_TRANSPOSED>(right, keys, kKeyPitch, n * 8, k);
#pragma unroll
        for (int m = 0; m < TILES; ++m) {
          multiply_add(scores[m][n], left[m], right[0], right[1], T());
          multiply_add(scores[m][n + 1], left[m], right[2], right[3], T());
        }
      }
    }
  }

  __device__ void add_values(const T* values) {
#pragma unroll
    for (int k = 0; k < kKeyTiles; k += 2) {
      u32 left[TILES][4];
#pragma unroll
      for (int m = 0; m < TILES; ++m) left_of_powers(left[m], m, k);
#pragma unroll
      for (int n = 0; n < kValueTiles; n += 2) {
        u32 right[4];
        load_right<!V_TRANSPOSED>(right, values, kValuePitch, n * 8, k * 8);
#pragma unroll
        for (int m = 0; m < TILES; ++m) {
          multiply_add(results[m][n], left[m], right[0], right[1], T());
          multiply_add(results[m][n + 1], left[m], right[2], right[3], T());
        }
      }
    }
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
    const int left = args.keys - first;
    load_strided<kKeyLines, kKeyWidth, kKeyPitch>(keys, from, stride, K_TRANSPOSED ? HEAD_DIM : left,
                                                  K_TRANSPOSED ? left : HEAD_DIM);
    end_of_copies();
  };
  const auto load_values = [&](int first) {
    const T* from = v + first * args.v.token;
    const i64 stride = V_TRANSPOSED ? args.v.feature : args.v.token;
    const int left = args.keys - first;
    load_strided<kValueLines, kValueWidth, kValuePitch>(values, from, stride, V_TRANSPOSED ? VALUE_DIM : left,
                                                        V_TRANSPOSED ? left : VALUE_DIM);
    end_of_copies();
  };

  Warp warp(args, part);
  if (part.begin < part.end) {
    load_queries<HEAD, kQueryPitch>(queries, args, part);
    load_keys(part.begin);
  }
  for (int first = part.begin; first < part.end; first += KEYS) {
    wait_for_copies<0>();
    __syncthreads();
    load_values(first);
    warp.multiply_keys(queries, keys);
    wait_for_copies<0>();
    __syncthreads();
    if (first + KEYS < part.end) load_keys(first + KEYS);
    if (!warp.needs_no_score(first, part.first_row)) warp.score(first);
    warp.soften(score_factor(args));
    warp.rescale_results();
    warp.add_values(values);
  }
  warp.store();
}
