// Rows held in registers: a group of GROUP threads (part of a warp, a warp, or a whole block) holds one row, CHUNKS
// packs of VECTOR elements per thread, read once. CHUNKS = 0 stands for rows too long for that: every pass reads them
// again, from the second on mostly from L2.
#pragma once

#include "prelude.cuh"

constexpr int kRowThreads = GROUP < 128 ? 128 : GROUP;
constexpr int kRowsPerBlock = kRowThreads / GROUP;

// Threads beyond the last row repeat it, so that whole warps stay together.
inline __device__ i64 row_of_thread(i64 rows) {
  const i64 row = i64(blockIdx.x) * kRowsPerBlock + threadIdx.x / GROUP;
  return row < rows ? row : rows - 1;
}

// `scratch`: 32 elements of shared memory, not used by another reduction of the same row.
template <class Op, class T>
inline __device__ T row_reduce(T x, T* scratch) {
  if constexpr (GROUP > kWarp) return block_reduce<Op>(x, scratch);
#pragma unroll
  for (int lane = GROUP / 2; lane > 0; lane /= 2) x = Op::combine(x, __shfl_xor_sync(FULL_MASK, x, lane));
  return x;
}

// Source: load(column, values) fills VECTOR values from `column` on.
template <class Wide, class Source>
class Row {
 public:
  __device__ Row(const Source& source, i64 width) : source_(source), width_(width) {
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; ++chunk)
      if (column_of(chunk) < width_) source_.load(column_of(chunk), values_[chunk]);
  }

  // Calls use(column, values) for every pack of the row that belongs to this thread.
  template <class Use>
  __device__ void each(const Use& use) {
    if constexpr (CHUNKS > 0) {
#pragma unroll
      for (int chunk = 0; chunk < CHUNKS; ++chunk)
        if (column_of(chunk) < width_) use(column_of(chunk), values_[chunk]);
    } else {
      for (i64 column = column_of(0); column < width_; column += GROUP * VECTOR) {
        Wide values[VECTOR];
        source_.load(column, values);
        use(column, values);
      }
    }
  }

 private:
  static __device__ i64 column_of(int chunk) { return i64(chunk * GROUP + threadIdx.x % GROUP) * VECTOR; }

  const Source& source_;
  i64 width_;
  Wide values_[CHUNKS > 0 ? CHUNKS : 1][VECTOR];
};
