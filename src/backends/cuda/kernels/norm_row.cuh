// The normalisation of one row, for norm, group norm and embedding: mean and variance in two passes over registers.
// LAYER is 1 for layer norm, 0 for RMS norm; WIDE the type of the statistics.
#pragma once

#include "row.cuh"

struct Moments {
  WIDE mean, factor;  // results are (x - mean) * factor
};

template <class Source>
inline __device__ Moments moments_of(Row<WIDE, Source>& row, i64 width, double epsilon) {
  __shared__ WIDE scratch[2][kWarp];
  WIDE mean = 0;
  if constexpr (LAYER) {
    row.each([&](i64, WIDE(&x)[VECTOR]) {
#pragma unroll
      for (int i = 0; i < VECTOR; ++i) mean += x[i];
    });
    mean = row_reduce<Sum>(mean, scratch[0]) / WIDE(width);
  }
  WIDE square = 0;
  row.each([&](i64, WIDE(&x)[VECTOR]) {
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) square += (x[i] - mean) * (x[i] - mean);
  });
  square = row_reduce<Sum>(square, scratch[1]) / WIDE(width);
  return {mean, 1 / sqrt(square + WIDE(epsilon))};
}

// Sink: store(column, x, mean, factor) writes VECTOR results, (x - mean) * factor scaled as it likes.
template <class Source, class Sink>
inline __device__ void normalise_row(const Source& source, const Sink& sink, i64 width, double epsilon) {
  Row<WIDE, Source> row(source, width);
  const Moments moments = moments_of(row, width, epsilon);
  row.each([&](i64 column, WIDE(&x)[VECTOR]) { sink.store(column, x, moments.mean, moments.factor); });
}
