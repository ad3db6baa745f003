// The rows of a warp in attention on tensor cores: scores and results in registers, as matrix instructions leave them.
// TILES tiles of 16 rows; HEAD and VALUE are the head sizes, padded as the instructions need.
#pragma once

#include "attention.cuh"

constexpr bool kLazy = TILES == 1 && VALUE >= 128;  // rescale results only when it matters
constexpr int kKeyTiles = KEYS / 8, kValueTiles = VALUE / 8;

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

// Results of a matrix instruction: elements 0 and 1 of a tile belong to row lane / 4, columns 2 * (lane % 4) and the
// next; 2 and 3 to row lane / 4 + 8.
struct WarpRows {
  const AttentionArgs& args;
  Part part;
  float scores[TILES][kKeyTiles][4];
  float results[TILES][kValueTiles][4];
  RowState state[TILES][2];
  float rescale[TILES][2];  // of the results so far, before those of the latest keys are added

  static __device__ int row_in_tile(int tile, int half) {
    return threadIdx.x / kWarp * TILES * 16 + tile * 16 + half * 8 + threadIdx.x % kWarp / 4;
  }
  static __device__ int column_in_tile(int tile) { return tile * 8 + threadIdx.x % 4 * 2; }

  __device__ WarpRows(const AttentionArgs& a, const Part& p) : args(a), part(p) { clear_results(); }
  __device__ void clear_results() {
#pragma unroll
    for (int m = 0; m < TILES; ++m)
#pragma unroll
      for (int n = 0; n < kValueTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) results[m][n][i] = 0;
  }

  // True when products are scores and every row from `first_row` on sees all keys of a tile.
  __device__ bool needs_no_score(int first_key, int first_row) const {
    return SCORE != 1 && first_key + KEYS <= visible_keys(args, part, part.query(first_row));
  }

  // Products become scores; those of keys that a row does not see become -inf.
  __device__ void score(int first_key) {
#pragma unroll
    for (int m = 0; m < TILES; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = min(part.first_row + row_in_tile(m, half), part.rows - 1);
        const int query = part.query(row), head = part.head(row);
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

  // Scores become exponentials: powers of 2 of them times `factor`.
  __device__ void soften(float factor) {
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
        rescale[m][half] = row.raise<kLazy>(largest, factor);
#pragma unroll
        for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i) {
            scores[m][n][i] = row.power(scores[m][n][i], factor);
            row.sum += scores[m][n][i];
          }
      }
  }

  __device__ void rescale_results() {
    // Large ones are worth a look at whether the scores have stopped growing, within what `raise` lets pass.
    if (kLazy && __all_sync(FULL_MASK, rescale[0][0] == 1 && rescale[0][1] == 1)) return;
#pragma unroll
    for (int m = 0; m < TILES; ++m)
#pragma unroll
      for (int n = 0; n < kValueTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) results[m][n][i] *= rescale[m][i / 2];
  }

  // The exponentials of 16 keys from tile k on as a left operand.
  __device__ void left_of_powers(u32 (&left)[4], int m, int k) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* pair = &scores[m][k + i / 2][i % 2 * 2];
      left[i] = pair_of(pair[0], pair[1], T());
    }
  }

  __device__ void store() {
#pragma unroll
    for (int m = 0; m < TILES; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) store_row(part, m, half, state[m][half]);
  }

  __device__ void store_row(const Part& to_part, int m, int half, RowState row) const {
    row.sum += __shfl_xor_sync(FULL_MASK, row.sum, 1);
    row.sum += __shfl_xor_sync(FULL_MASK, row.sum, 2);
    const int index = to_part.first_row + row_in_tile(m, half);
    if (index >= to_part.rows) return;
    const PartialRow partial(args, to_part.split, row_of_all(args, to_part, index));
    T* to = result_row(args, to_part, index);
    const float scale = SPLIT ? 1 : row.scale_of_result();
    if (SPLIT && threadIdx.x % 4 == 0) {
      partial.state[0] = RowState::base(row.largest);
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
