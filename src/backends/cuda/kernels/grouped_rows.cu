// Products in which every row chooses its matrix, row by row: a warp has some columns of the result, its lanes share the
// terms. With ROWS 1 a block finds the matrix of its one row by itself, which is best for few rows: nothing but the
// chosen matrices is read, and no kernel comes before. With more, rows have been sorted, and ROWS of one matrix share
// what is read of it. A row's bits are the same either way. Floor: the bytes of the chosen matrices over the bandwidth
// of memory.
#include "grouped_weights.cuh"

constexpr int kWarps = 8, kColumns = 4;  // columns of a warp

// Rows rows[0] and up to `count` of them.
inline __device__ void multiply(const GroupedMatmulArgs& args, const GroupWeights& weights, const int* rows, int count) {
  const int lane = threadIdx.x % kWarp;
  const i64 column0 = (i64(blockIdx.x) * kWarps + threadIdx.x / kWarp) * kColumns;
  if (column0 >= args.n) return;
  const T* x[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; ++r) x[r] = row_of(args, rows[r < count ? r : 0]);
  float sums[ROWS][kColumns] = {};
#pragma unroll 2
  for (i64 k = lane * EACH; k < args.k; k += kWarp * EACH) {
    float w[kColumns][EACH];
#pragma unroll
    for (int c = 0; c < kColumns; ++c) weights.read(w[c], column0 + c < args.n ? column0 + c : args.n - 1, k);
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      const auto terms = weights.terms(x[r], k);
#pragma unroll
      for (int c = 0; c < kColumns; ++c)
#pragma unroll
        for (int i = 0; i < EACH; ++i) sums[r][c] += to_float(terms[i]) * w[c][i];
    }
  }
#pragma unroll
  for (int r = 0; r < ROWS; ++r)
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const float sum = warp_reduce<Sum>(sums[r][c]);
      if (lane == 0 && r < count && column0 + c < args.n)
        static_cast<T*>(args.y)[rows[r] * args.n + column0 + c] = from_float<T>(sum);
    }
}

KERNEL(kWarps * kWarp, GroupedMatmulArgs) {
#if ROWS == 1
  const int row = blockIdx.y, group = int(read_index(args.chosen, args.wide_choices, row)) - args.first_group;
  if (group >= 0 && group < args.groups) multiply(args, GroupWeights(args, group), &row, 1);
#else
  const int group = args.first_group + blockIdx.z;
  const int begin = group == 0 ? 0 : args.ends[group - 1], end = args.ends[group];
  for (int first = begin + blockIdx.y * ROWS; first < end; first += gridDim.y * ROWS)
    multiply(args, GroupWeights(args, blockIdx.z), args.order + first, end - first);
#endif
}
