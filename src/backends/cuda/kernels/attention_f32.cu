// Flash attention in fp32, exactly: no TF32. 16 x 16 threads; thread (x, y) has rows y + 16 i, for the scores of keys x
// + 16 j and for GROUPS * 16 * WIDTH columns of the results. Floor: 4 * rows * keys * head size flops over the fp32
// peak. HEAD is the head size padded to 4.
#include "attention.cuh"

static_assert(THREADS == 256);
constexpr int kRows = ROWS / 16, kKeys = KEYS / 16;  // of a thread
// Columns of the results that a thread has side by side: the more the better, as long as padding stays small.
__device__ constexpr int padded(int width) { return (VALUE_DIM + 16 * width - 1) / (16 * width) * (16 * width); }
constexpr int kWidth = padded(4) * 4 <= VALUE_DIM * 5 ? 4 : padded(2) * 4 <= VALUE_DIM * 5 ? 2 : 1;
constexpr int kValue = padded(kWidth), kGroups = kValue / (16 * kWidth);
constexpr int kHeadPitch = (HEAD / 4 | 1) * 4;  // an odd number of 16-byte units: no bank conflicts
constexpr int kPowerPitch = KEYS + 4;

// Lines of a transposed operand: consecutive threads read consecutive tokens.
template <int LINES, int WIDTH, int PITCH>
inline __device__ void load_transposed(T* tile, const T* from, i64 feature_stride, int lines, int width) {
  for (int i = threadIdx.x; i < LINES * WIDTH; i += THREADS) {
    const int line = i % LINES, column = i / LINES;
    tile[line * PITCH + column] = line < lines && column < width ? from[column * feature_stride + line] : 0;
  }
}

template <bool TRANSPOSED, int WIDTH, int PITCH>
inline __device__ void load_operand(T* tile, const T* base, const AttentionView& view, int first, int left, int width) {
  const T* from = base + first * view.token;
  if constexpr (TRANSPOSED)
    load_transposed<KEYS, WIDTH, PITCH>(tile, from, view.feature, left, width);
  else
    load_strided<KEYS, WIDTH, PITCH>(tile, from, view.token, left, width);
  end_of_copies();
}

struct Rows {
  const AttentionArgs& args;
  const Part& part;
  float scores[kRows][kKeys];
  float results[kRows][kGroups][kWidth];
  RowState state[kRows];

  static __device__ int x() { return threadIdx.x % 16; }
  static __device__ int y() { return threadIdx.x / 16; }

  __device__ Rows(const AttentionArgs& a, const Part& p) : args(a), part(p) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int g = 0; g < kGroups; ++g)
#pragma unroll
        for (int c = 0; c < kWidth; ++c) results[i][g][c] = 0;
    }
  }

  __device__ void multiply_keys(const T* queries, const T* keys) {
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < kKeys; ++j) scores[i][j] = 0;
#pragma unroll 4
    for (int k = 0; k < HEAD; k += 4) {
      Pack<float, 4> q[kRows], key[kKeys];
#pragma unroll
      for (int i = 0; i < kRows; ++i) q[i] = load_pack<4>(queries + (y() + 16 * i) * kHeadPitch + k);
#pragma unroll
      for (int j = 0; j < kKeys; ++j) key[j] = load_pack<4>(keys + (x() + 16 * j) * kHeadPitch + k);
#pragma unroll
      for (int e = 0; e < 4; ++e)
#pragma unroll
        for (int i = 0; i < kRows; ++i)
#pragma unroll
          for (int j = 0; j < kKeys; ++j) scores[i][j] += q[i][e] * key[j][e];
    }
  }

  __device__ void score(int first_key) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = min(part.first_row + y() + 16 * i, part.rows - 1);
      const int query = part.query(row), head = part.head(row);
      const int visible = visible_keys(args, part, query);
#pragma unroll
      for (int j = 0; j < kKeys; ++j) {
        const int key = first_key + x() + 16 * j;
        const ScorePosition at = position_of(part, head, query, min(key, part.keys(args) - 1));
        scores[i][j] = key >= visible ? minus_infinity() : score_of(args, at, scores[i][j]);
      }
    }
  }

  // Scores become exponentials in `powers`, which only the threads of the same row read.
  __device__ void soften(float* powers) {
    const float factor = score_factor(args);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      float largest = minus_infinity();
#pragma unroll
      for (int j = 0; j < kKeys; ++j) largest = fmaxf(largest, scores[i][j]);
#pragma unroll
      for (int lane = 8; lane > 0; lane /= 2) largest = fmaxf(largest, __shfl_xor_sync(FULL_MASK, largest, lane));
      const float rescale = state[i].raise(largest, factor);
#pragma unroll
      for (int g = 0; g < kGroups; ++g)
#pragma unroll
        for (int c = 0; c < kWidth; ++c) results[i][g][c] *= rescale;
#pragma unroll
      for (int j = 0; j < kKeys; ++j) {
        const float power = state[i].power(scores[i][j], factor);
        state[i].sum += power;
        powers[(y() + 16 * i) * kPowerPitch + x() + 16 * j] = power;
      }
    }
    __syncwarp();
  }

  __device__ void add_values(const float* powers, const T* values) {
#pragma unroll 2
    for (int k = 0; k < KEYS; k += 4) {
      Pack<float, 4> p[kRows];
#pragma unroll
      for (int i = 0; i < kRows; ++i) p[i] = load_pack<4>(powers + (y() + 16 * i) * kPowerPitch + k);
#pragma unroll
      for (int e = 0; e < 4; ++e)
#pragma unroll
        for (int g = 0; g < kGroups; ++g) {
          const auto v = load_pack<kWidth>(values + (k + e) * kValue + (g * 16 + x()) * kWidth);
#pragma unroll
          for (int i = 0; i < kRows; ++i)
#pragma unroll
            for (int c = 0; c < kWidth; ++c) results[i][g][c] += p[i][e] * v[c];
        }
    }
  }

  __device__ void store() {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int lane = 8; lane > 0; lane /= 2) state[i].sum += __shfl_xor_sync(FULL_MASK, state[i].sum, lane);
      const int index = part.first_row + y() + 16 * i;
      if (index >= part.rows) continue;
      const PartialRow partial(args, part.split, row_of_all(args, part, index));
      float* to = SPLIT ? partial.sums : result_row(args, part, index);
      const float scale = SPLIT ? 1 : state[i].scale_of_result();
      if (SPLIT && x() == 0) {
        partial.state[0] = RowState::base(state[i].largest);
        partial.state[1] = state[i].sum;
      }
#pragma unroll
      for (int g = 0; g < kGroups; ++g)
#pragma unroll
        for (int c = 0; c < kWidth; ++c) {
          const int column = (g * 16 + x()) * kWidth + c;
          if (column < VALUE_DIM) to[column] = results[i][g][c] * scale;
        }
    }
  }
};

KERNEL(THREADS, AttentionArgs) {
  extern __shared__ __align__(16) T shared[];
  T* queries = shared;
  T* keys = queries + ROWS * kHeadPitch;
  T* values = keys + KEYS * kHeadPitch;
  float* powers = values + KEYS * kValue;
  const Part part = Part::of_block(args);
  const T* k = part.line(args.k, part.kv_head);
  const T* v = part.line(args.v, part.kv_head);
  const auto load_keys = [&](int first) {
    load_operand<K_TRANSPOSED, HEAD, kHeadPitch>(keys, k, args.k, first, part.keys(args) - first, HEAD_DIM);
  };

  Rows rows(args, part);
  if (part.begin < part.end) {
    load_queries<HEAD, kHeadPitch>(queries, args, part);
    load_keys(part.begin);
  }
  for (int first = part.begin; first < part.end; first += KEYS) {
    wait_for_copies<0>();
    __syncthreads();
    load_operand<V_TRANSPOSED, kValue, kValue>(values, v, args.v, first, part.keys(args) - first, VALUE_DIM);
    rows.multiply_keys(queries, keys);
    wait_for_copies<0>();
    __syncthreads();
    if (first + KEYS < part.end) load_keys(first + KEYS);
    rows.score(first);
    rows.soften(powers);
    rows.add_values(powers, values);
  }
  rows.store();
}
