// What attention does whatever its keys and masks are: tiles on their way into shared memory, and the running softmax
// of a row. Definitions: ELEMENT; THREADS; VECTOR elements per load.
#pragma once

#include "tensor_core.cuh"

using T = ELEMENT;

constexpr float kLog2e = 1.4426950408889634f;
inline __device__ float minus_infinity() { return __int_as_float(0xff800000); }

inline __device__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// ---- asynchronous copies into shared memory ----

// A tile of LINES lines of WIDTH elements, PITCH apart in shared memory; line(i) points to line i in global memory.
// What is beyond `lines` and `width` becomes 0.
template <int LINES, int WIDTH, int PITCH, class Line>
inline __device__ void load_tile(T* tile, const Line& line, int lines, int width) {
  constexpr int kPacks = WIDTH / VECTOR;
#pragma unroll 4
  for (int i = threadIdx.x; i < LINES * kPacks; i += THREADS) {
    const int at = i / kPacks, column = i % kPacks * VECTOR;
    const bool valid = at < lines && column < width;
    T* to = tile + at * PITCH + column;
    const T* from = line(valid ? at : 0) + (valid ? column : 0);
    if constexpr (VECTOR > 1)
      copy_16(to, from, valid);
    else
      *to = valid ? *from : from_float<T>(0);
  }
}

// The same for lines that lie `stride` apart. Where a row of threads covers whole lines, every thread walks down one
// column, so that a copy costs little more than itself.
template <int COUNT>
inline __device__ void copy_column(T* to, int to_step, const T* from, i64 from_step, int line, int line_step,
                                   int lines) {
#pragma unroll
  for (int i = 0; i < COUNT; ++i) {
    copy_16(to, from, line < lines);
    to += to_step;
    from += from_step;
    line += line_step;
  }
}

template <int LINES, int WIDTH, int PITCH>
inline __device__ void load_strided(T* tile, const T* from, i64 stride, int lines, int width) {
  constexpr int kPacks = WIDTH / VECTOR, kStep = THREADS / kPacks;
  if constexpr (VECTOR > 1 && THREADS % kPacks == 0 && LINES % kStep == 0) {
    const int line = threadIdx.x / kPacks, column = threadIdx.x % kPacks * VECTOR;
    copy_column<LINES / kStep>(tile + line * PITCH + column, kStep * PITCH, from + line * stride + column,
                               kStep * stride, line, kStep, column < width ? lines : 0);
  } else {
    load_tile<LINES, WIDTH, PITCH>(
        tile, [&](int line) { return from + line * stride; }, lines, width);
  }
}

// ---- online softmax of one row ----

// The largest score is kept in powers of 2: times the factor of the scores.
struct RowState {
  float largest = minus_infinity(), sum = 0;

  // Takes a new largest score into account; returns by what earlier sums are to be multiplied. A row that sees nothing
  // so far keeps sums of 0. LAZY: keeps the old one while exponentials stay small numbers, so that there is nothing to
  // multiply.
  template <bool LAZY = false>
  __device__ float raise(float score, float factor) {
    constexpr float kSmall = 8;
    score *= factor;
    if (LAZY && score - largest <= kSmall) return 1;
    const float next = fmaxf(largest, score);
    const float rescale = exp2_fast(largest - base(next));
    largest = next;
    sum *= rescale;
    return rescale;
  }
  __device__ float power(float score, float factor) const { return exp2_fast(score * factor - base(largest)); }
  static __device__ float base(float largest) { return largest == minus_infinity() ? 0 : largest; }
  __device__ float scale_of_result() const { return sum == 0 ? 0 : 1 / sum; }
};
