// The rows of a warp in attention on tensor cores: which keys they see, and where their results go.
#pragma once

#include "attention.cuh"
#include "attention_warp.cuh"

#if SCORE == 2
// What is added to the scores of a key, in powers of 2. A finite number stays finite: rows that see no other keys depend
// on it.
inline __device__ float bias_in_powers(const AttentionArgs& args, const Part& part, int key) {
  constexpr float kLowest = -3.402823466e38f;
  const float bias = key_bias(args, position_of(part, 0, 0, key)), in_powers = bias * kLog2e;
  return in_powers < kLowest && bias >= kLowest ? kLowest : in_powers;
}
#endif

struct WarpRows : WarpTile {
  const AttentionArgs& args;
  Part part;

  __device__ WarpRows(const AttentionArgs& a, const Part& p) : args(a), part(p) { clear_results(); }

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
            const ScorePosition at = position_of(part, head, query, min(key, part.keys(args) - 1));
            float& s = scores[m][n][2 * half + i];
            s = key >= visible ? minus_infinity() : score_of(args, at, s);
          }
      }
  }

  // Products become scores in powers of 2, given those biases of a tile's keys.
  __device__ void add_biases(const float* biases) {
    const float factor = score_factor(args);
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
      const auto bias = load_pack<2>(biases + column_in_tile(n));
#pragma unroll
      for (int m = 0; m < TILES; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[m][n][i] = scores[m][n][i] * factor + bias[i % 2];
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
