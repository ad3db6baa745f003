// Flash attention in f16 or bf16 on tensor cores (mma.sync m16n8k16, sm_80 and newer), fp32 accumulation. A warp holds
// TILES * 16 rows with their results in registers; keys and values pass through shared memory, copied asynchronously:
// values while scores are computed, the next keys while values are added up. HEAD and VALUE are the head sizes, padded
// to 16. Floor: 4 * rows * keys * head size flops over the tensor peak, or the bytes of keys and values over the
// bandwidth when there are few rows.
#include "attention.cuh"

constexpr int kWarps = THREADS / kWarp;
static_assert(ROWS == kWarps * TILES * 16);
constexpr int kQueryPitch = HEAD + 8;  // an odd number of 16-byte units: no bank conflicts
constexpr int kKeyLines = K_TRANSPOSED ? HEAD : KEYS, kKeyWidth = K_TRANSPOSED ? KEYS : HEAD;
constexpr int kValueLines = V_TRANSPOSED ? VALUE : KEYS, kValueWidth = V_TRANSPOSED ? KEYS : VALUE;
constexpr int kKeyPitch = kKeyWidth + 8, kValuePitch = kValueWidth + 8;
constexpr int kKeyTiles = KEYS / 8, kValueTiles = VALUE / 8;

// ---- tensor core instructions ----

template <bool TRANSPOSED>
inline __device__ void load_matrices(u32 (&r)[4], const T* from) {
  if constexpr (TRANSPOSED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(from)));
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(from)));
}

#define MMA(type)                                                                     \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type                 \
               ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                       \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
inline __device__ void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1, f16) { MMA("f16"); }
inline __device__ void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1, bf16) { MMA("bf16"); }
#undef MMA

inline __device__ u32 pair_of(float low, float high, f16) {
  u32 pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
inline __device__ u32 pair_of(float low, float high, bf16) {
  u32 pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

// The left operand: 16 rows from `row` on, 16 columns.
inline __device__ void load_left(u32 (&a)[4], const T* tile, int pitch, int row, int column) {
  const int lane = threadIdx.x % kWarp;
  load_matrices<false>(a, tile + (row + lane % 16) * pitch + column + lane / 16 * 8);
}
// The right operand for 16 results n and 16 terms k; the lines of the tile are the n, or the k.
template <bool LINES_ARE_TERMS>
inline __device__ void load_right(u32 (&b)[4], const T* tile, int pitch, int n, int k) {
  const int lane = threadIdx.x % kWarp;
  if constexpr (LINES_ARE_TERMS)
    load_matrices<true>(b, tile + (k + lane % 16) * pitch + n + lane / 16 * 8);
  else
    load_matrices<false>(b, tile + (n + lane % 8 + lane / 16 * 8) * pitch + k + lane / 8 % 2 * 8);
}

// ---- the kernel ----

// Results of a matrix instruction: elements 0 and 1 of a tile belong to row lane / 4, columns 2 * (lane % 4) and the
// next; 2 and 3 to row lane / 4 + 8.
struct Warp {
  const AttentionArgs& args;
  const Part& part;
  float scores[TILES][kKeyTiles][4];
  float results[TILES][kValueTiles][4];
  RowState state[TILES][2];
  int seen_by_all;  // keys

  static __device__ int row_in_tile(int tile, int half) {
    return threadIdx.x / kWarp * TILES * 16 + tile * 16 + half * 8 + threadIdx.x % kWarp / 4;
  }
  static __device__ int column_in_tile(int tile) { return tile * 8 + threadIdx.x % 4 * 2; }

  __device__ Warp(const AttentionArgs& a, const Part& p)
      : args(a), part(p), seen_by_all(visible_keys(a, p, p.query(a, p.first_row))) {
#pragma unroll
    for (int m = 0; m < TILES; ++m) {
#pragma unroll
      for (int n = 0; n < kValueTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) results[m][n][i] = 0;
    }
  }

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
          multiply(scores[m][n], left[m], right[0], right[1], T());
          multiply(scores[m][n + 1], left[m], right[2], right[3], T());
        }
      }
    }
  }

  // Products become scores; those of keys that a row does not see become -inf.
  __device__ void score(int first_key) {
    if (!SCORE && first_key + KEYS <= seen_by_all) return;
#pragma unroll
    for (int m = 0; m < TILES; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = min(part.first_row + row_in_tile(m, half), part.rows - 1);
        const int query = part.query(args, row), head = part.head(args, row);
        const int visible = visible_keys(args, part, query);
#pragma unroll
        for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const int key = first_key + column_in_tile(n) + i;
            const ScorePosition at{part.batch, head, query, min(key, args.keys - 1)};
            float& s = scores[m][n][2 * half + i];
            s = key >= visible ? minus_infinity() : score_of(args, at, s);
          }
      }
  }

  // Scores become exponentials.
  __device__ void soften() {
    const float factor = score_factor(args);
#pragma unroll
    for (int m = 0; m < TILES; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float largest = minus_infinity();
#pragma unroll
        for (int n = 0; n < kKeyTiles; ++n)
          largest = fmaxf(largest, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
        largest = fmaxf(largest, __shfl_xor_sync(FULL_MASK, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(FULL_MASK, largest, 2));
        RowState& row = state[m][half];
        const float rescale = row.raise(largest, factor);
#pragma unroll
        for (int n = 0; n < kValueTiles; ++n) {
          results[m][n][2 * half] *= rescale;
          results[m][n][2 * half + 1] *= rescale;
        }
#pragma unroll
        for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i) {
            scores[m][n][i] = row.power(scores[m][n][i], factor);
            row.sum += scores[m][n][i];
          }
      }
  }

  __device__ void add_values(const T* values) {
#pragma unroll
    for (int k = 0; k < kKeyTiles; k += 2) {
      u32 left[TILES][4];
#pragma unroll
      for (int m = 0; m < TILES; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float* pair = &scores[m][k + i / 2][i % 2 * 2];
          left[m][i] = pair_of(pair[0], pair[1], T());
        }
#pragma unroll
      for (int n = 0; n < kValueTiles; n += 2) {
        u32 right[4];
        load_right<!V_TRANSPOSED>(right, values, kValuePitch, n * 8, k * 8);
#pragma unroll
        for (int m = 0; m < TILES; ++m) {
          multiply(results[m][n], left[m], right[0], right[1], T());
          multiply(results[m][n + 1], left[m], right[2], right[3], T());
        }
      }
    }
  }

  __device__ void store() {
#pragma unroll
    for (int m = 0; m < TILES; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        RowState& row = state[m][half];
        row.sum += __shfl_xor_sync(FULL_MASK, row.sum, 1);
        row.sum += __shfl_xor_sync(FULL_MASK, row.sum, 2);
        const int index = part.first_row + row_in_tile(m, half);
        if (index < part.rows) store_row(m, half, index);
      }
  }

  __device__ void store_row(int m, int half, int index) const {
    const RowState& row = state[m][half];
    const PartialRow partial(args, blockIdx.y, row_of_all(args, part, index));
    T* to = result_row(args, part, index);
    const float scale = SPLIT ? 1 : row.scale_of_result();
    if (SPLIT && threadIdx.x % 4 == 0) {
      partial.state[0] = RowState::base(row.largest) * score_factor(args);
      partial.state[1] = row.sum;
    }
#pragma unroll
    for (int n = 0; n < kValueTiles; ++n) {
      const int column = column_in_tile(n);
      const float low = results[m][n][2 * half] * scale, high = results[m][n][2 * half + 1] * scale;
      if constexpr (VALUE_DIM % 2 == 0) {
        if (column >= VALUE_DIM) continue;
        if constexpr (SPLIT)
          store_pack<2>(partial.sums + column, Pack<float, 2>{low, high});
        else
          *reinterpret_cast<u32*>(to + column) = pair_of(low, high, T());
      } else {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (column + i >= VALUE_DIM) continue;
          if constexpr (SPLIT)
            partial.sums[column + i] = i == 0 ? low : high;
          else
            to[column + i] = from_float<T>(i == 0 ? low : high);
        }
      }
    }
  }
};

extern "C" __global__ void __launch_bounds__(THREADS) ENTRY(const __grid_constant__ AttentionArgs args) {
  extern __shared__ __align__(16) u8 memory[];
  T* queries = reinterpret_cast<T*>(memory);
  T* keys = queries + ROWS * kQueryPitch;
  T* values = keys + kKeyLines * kKeyPitch;
  const Part part(args);
  const T* q = part.line(args.q, 0);
  const T* k = part.line(args.k, part.kv_head);
  const T* v = part.line(args.v, part.kv_head);
  const auto load_keys = [&](int first) {
    const T* from = k + first * args.k.token;
    const i64 stride = K_TRANSPOSED ? args.k.feature : args.k.token;
    const int left = args.keys - first;
    load_tile<kKeyLines, kKeyWidth, kKeyPitch>(
        keys, [&](int line) { return from + line * stride; }, K_TRANSPOSED ? HEAD_DIM : left,
        K_TRANSPOSED ? left : HEAD_DIM);
    commit_copies();
  };
  const auto load_values = [&](int first) {
    const T* from = v + first * args.v.token;
    const i64 stride = V_TRANSPOSED ? args.v.feature : args.v.token;
    const int left = args.keys - first;
    load_tile<kValueLines, kValueWidth, kValuePitch>(
        values, [&](int line) { return from + line * stride; }, V_TRANSPOSED ? VALUE_DIM : left,
        V_TRANSPOSED ? left : VALUE_DIM);
    commit_copies();
  };

  Warp warp(args, part);
  if (part.begin < part.end) {
    load_tile<ROWS, HEAD, kQueryPitch>(
        queries,
        [&](int line) {
          const int row = part.first_row + line;
          return q + part.head(args, row) * args.q.head + part.query(args, row) * args.q.token;
        },
        part.rows - part.first_row, HEAD_DIM);
    load_keys(part.begin);
  }
  for (int first = part.begin; first < part.end; first += KEYS) {
    wait_for_copies();
    __syncthreads();
    load_values(first);
    warp.multiply_keys(queries, keys);
    wait_for_copies();
    __syncthreads();
    if (first + KEYS < part.end) load_keys(first + KEYS);
    warp.score(first);
    warp.soften();
    warp.add_values(values);
  }
  warp.store();
}
