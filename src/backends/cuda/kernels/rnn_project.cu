// The input's part of all gates of all steps: one matrix product per direction, in full precision. Tiles of 64 x 64,
// 4 x 4 results per thread. Floor: 2 rows columns depth / 60 TFLOP/s for f32 on an H100; tiles of this size reach a
// fraction of that, which is small beside the steps that follow one another.
#include "rnn.cuh"

constexpr int kDepth = 16;
constexpr int kOwn = 4;  // rows and columns of a thread

// A tile of kRnnTile rows of a row-major matrix, transposed.
inline __device__ void load_tile(ACC (&tile)[kDepth][kRnnTile + 4], const TYPE* from, i64 first, i64 rows, i64 depth,
                                 i64 k0) {
  for (int i = threadIdx.x; i < kDepth * kRnnTile; i += kRnnProjectThreads) {
    const int k = i % kDepth, row = i / kDepth;
    const bool inside = first + row < rows && k0 + k < depth;
    tile[k][row] = inside ? to_acc(from[(first + row) * depth + k0 + k]) : ACC(0);
  }
}

KERNEL(kRnnProjectThreads, RnnProjectArgs) {
  __shared__ ACC a[kDepth][kRnnTile + 4], b[kDepth][kRnnTile + 4];
  const int d = blockIdx.z;
  const i64 row0 = i64(blockIdx.x) * kRnnTile, column0 = i64(blockIdx.y) * kRnnTile;
  const int row = threadIdx.x / 16 * kOwn, column = threadIdx.x % 16 * kOwn;
  const TYPE* w = static_cast<const TYPE*>(args.w) + d * args.columns * args.depth;
  ACC sums[kOwn][kOwn] = {};
  for (i64 k0 = 0; k0 < args.depth; k0 += kDepth) {
    load_tile(a, static_cast<const TYPE*>(args.x), row0, args.rows, args.depth, k0);
    load_tile(b, w, column0, args.columns, args.depth, k0);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k)
#pragma unroll
      for (int i = 0; i < kOwn; ++i)
#pragma unroll
        for (int j = 0; j < kOwn; ++j) sums[i][j] += a[k][row + i] * b[k][column + j];
    __syncthreads();
  }
  const TYPE* bias = static_cast<const TYPE*>(args.bias) + d * 2 * args.columns;
  ACC* gates = static_cast<ACC*>(args.gates) + d * args.rows * args.columns;
#pragma unroll
  for (int j = 0; j < kOwn; ++j) {
    const i64 to = column0 + column + j;
    if (to >= args.columns) continue;
    ACC offset = 0;
    if (args.bias != nullptr) {
      offset = to_acc(bias[to]);
      if (to < args.state_biases) offset += to_acc(bias[args.columns + to]);
    }
#pragma unroll
    for (int i = 0; i < kOwn; ++i)
      if (row0 + row + i < args.rows) gates[(row0 + row + i) * args.columns + to] = sums[i][j] + offset;
  }
}
