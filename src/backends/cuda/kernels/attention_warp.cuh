// A warp's part in attention on tensor cores: scores and results in registers, as matrix instructions leave them.
// Definitions, besides those of attention_softmax.cuh: TILES of 16 rows; KEYS of a tile; HEAD and VALUE, the head
// sizes, padded as the instructions need.
#pragma once

#include "attention_softmax.cuh"

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

// Results of a matrix instruction: elements 0 and 1 of a tile belong to row lane / 4, columns 2 * (lane % 4) and the
// next; 2 and 3 to row lane / 4 + 8.
struct WarpTile {
  float scores[TILES][kKeyTiles][4];
  float results[TILES][kValueTiles][4];
  RowState state[TILES][2];
  float rescale[TILES][2];  // of the results so far, before those of the latest keys are added

  static __device__ int row_in_tile(int tile, int half) {
    return threadIdx.x / kWarp * TILES * 16 + tile * 16 + half * 8 + threadIdx.x % kWarp / 4;
  }
  static __device__ int column_in_tile(int tile) { return tile * 8 + threadIdx.x % 4 * 2; }

  __device__ void clear_results() {
#pragma unroll
    for (int m = 0; m < TILES; ++m)
#pragma unroll
      for (int n = 0; n < kValueTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) results[m][n][i] = 0;
  }

  // scores = queries times keys, both in shared memory: lines of the latter are the keys or (TRANSPOSED) the features.
  template <bool TRANSPOSED>
  __device__ void multiply_keys(const T* queries, int query_pitch, const T* keys, int key_pitch) {
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
        load_left(left[m], queries, query_pitch, (threadIdx.x / kWarp * TILES + m) * 16, k);
#pragma unroll
      for (int n = 0; n < kKeyTiles; n += 2) {
        u32 right[4];
        load_right<TRANSPOSED>(right, keys, key_pitch, n * 8, k);
#pragma unroll
        for (int m = 0; m < TILES; ++m) {
          multiply_add(scores[m][n], left[m], right[0], right[1], T());
          multiply_add(scores[m][n + 1], left[m], right[2], right[3], T());
        }
      }
    }
  }

  // results += exponentials times values, whose lines are the keys or (TRANSPOSED) the features.
  template <bool TRANSPOSED>
  __device__ void add_values(const T* values, int value_pitch) {
#pragma unroll
    for (int k = 0; k < kKeyTiles; k += 2) {
      u32 left[TILES][4];
#pragma unroll
      for (int m = 0; m < TILES; ++m) left_of_powers(left[m], m, k);
#pragma unroll
      for (int n = 0; n < kValueTiles; n += 2) {
        u32 right[4];
        load_right<!TRANSPOSED>(right, values, value_pitch, n * 8, k * 8);
#pragma unroll
        for (int m = 0; m < TILES; ++m) {
          multiply_add(results[m][n], left[m], right[0], right[1], T());
          multiply_add(results[m][n + 1], left[m], right[2], right[3], T());
        }
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
};
