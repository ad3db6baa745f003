// Products with few rows (ROWS <= 8): every weight is read once, at the bandwidth of memory, and used for all rows.
// TRANS_B = 0: weights [k, n]. Eight threads share 128 bytes of a row of weights, 32 such groups walk down k.
// TRANS_B = 1: weights [n, k]. A warp takes COLUMNS rows of weights and walks along k.
// Sums are f32. With several splits of k each block stores its sums, and matmul_finish.cu adds them in order.
// Floor: the bytes of the weights over the bandwidth (8192 x 8192 in f16: 45 us at 3.0 TB/s). Measured there on
// an H100, one row: 47 us with TRANS_B (cuBLASLt 50), 54 without (48); with more rows cuBLASLt is the faster one.
#include "matmul_store.cuh"

constexpr int kThreads = 256;
constexpr int kVector = 16 / sizeof(TYPE);

#if TRANS_B

constexpr int kColumns = 2, kUnroll = 2;

KERNEL(kThreads, MatmulArgs) {
  const int lane = threadIdx.x % kWarp;
  const i64 column = (i64(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp) * kColumns;
  if (column >= args.n) return;
  const i64 begin = blockIdx.y * args.k_per_split, limit = begin + args.k_per_split;
  const i64 end = limit < args.k ? limit : args.k;
  const TYPE* a = static_cast<const TYPE*>(args.a);
  const TYPE* weights[kColumns];
#pragma unroll
  for (int c = 0; c < kColumns; ++c)
    weights[c] = static_cast<const TYPE*>(args.b) + (column + c < args.n ? column + c : column) * args.ldb;
  float sums[ROWS][kColumns] = {};
  const auto step = [&](const Pack<TYPE, kVector>(&w)[kColumns], i64 k) {
#pragma unroll
    for (int row = 0; row < ROWS; ++row) {
      if (row >= args.m) break;
      const auto x = load_pack<kVector>(a + row * args.lda + k);
#pragma unroll
      for (int c = 0; c < kColumns; ++c)
#pragma unroll
        for (int v = 0; v < kVector; ++v) sums[row][c] += to_float(x[v]) * to_float(w[c][v]);
    }
  };
  i64 k = begin + lane * kVector;
  constexpr int kStep = kWarp * kVector;
  for (; k + (kUnroll - 1) * kStep < end; k += kUnroll * kStep) {
    Pack<TYPE, kVector> w[kUnroll][kColumns];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
#pragma unroll
      for (int c = 0; c < kColumns; ++c) w[u][c] = load_pack<kVector>(weights[c] + k + u * kStep);
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) step(w[u], k + u * kStep);
  }
  for (; k < end; k += kStep) {
    Pack<TYPE, kVector> w[kColumns];
#pragma unroll
    for (int c = 0; c < kColumns; ++c) w[c] = load_pack<kVector>(weights[c] + k);
    step(w, k);
  }
#pragma unroll
  for (int row = 0; row < ROWS; ++row)
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const float sum = warp_reduce<Sum>(sums[row][c]);
      // One lane per result, so that the epilogues run side by side.
      if (lane == row * kColumns + c && row < args.m && column + c < args.n) put(args, row, column + c, sum);
    }
}

#else

constexpr int kLanes = 8;                  // threads side by side in n
constexpr int kDepth = kThreads / kLanes;  // threads one above the other in k
constexpr int kBlockColumns = kLanes * kVector;
constexpr int kChunk = 512, kUnroll = 4;  // rows of weights between barriers, and in flight per thread

KERNEL(kThreads, MatmulArgs) {
  constexpr int kWarps = kThreads / kWarp;
  __shared__ float shared[ROWS * (kChunk > kWarps * kBlockColumns ? kChunk : kWarps * kBlockColumns)];
  const int lane = threadIdx.x % kLanes, depth = threadIdx.x / kLanes;
  const i64 column0 = i64(blockIdx.x) * kBlockColumns, column = column0 + lane * kVector;
  const bool inside = column < args.n;
  const i64 begin = blockIdx.y * args.k_per_split, limit = begin + args.k_per_split;
  const i64 end = limit < args.k ? limit : args.k;
  const TYPE* a = static_cast<const TYPE*>(args.a);
  const TYPE* weights = static_cast<const TYPE*>(args.b) + column;
  float sums[ROWS][kVector] = {};
  for (i64 chunk = begin; chunk < end; chunk += kChunk) {
    const int size = end - chunk < kChunk ? int(end - chunk) : kChunk;
    __syncthreads();
    for (int i = threadIdx.x; i < ROWS * kChunk; i += kThreads) {
      const int row = i / kChunk, k = i % kChunk;
      shared[i] = row < args.m && k < size ? to_float(a[row * args.lda + chunk + k]) : 0.0f;
    }
    __syncthreads();
    if (!inside) continue;
    for (int k = depth; k < size; k += kDepth * kUnroll) {
      Pack<TYPE, kVector> w[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u)
        if (k + u * kDepth < size) w[u] = load_pack<kVector>(weights + (chunk + k + u * kDepth) * args.ldb);
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (k + u * kDepth >= size) break;
#pragma unroll
        for (int row = 0; row < ROWS; ++row) {
          const float x = shared[row * kChunk + k + u * kDepth];
#pragma unroll
          for (int v = 0; v < kVector; ++v) sums[row][v] += x * to_float(w[u][v]);
        }
      }
    }
  }
  __syncthreads();
  const int warp = threadIdx.x / kWarp;
#pragma unroll
  for (int row = 0; row < ROWS; ++row)
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      float sum = sums[row][v];
      for (int other = kWarp / 2; other >= kLanes; other /= 2) sum += __shfl_xor_sync(FULL_MASK, sum, other);
      if (threadIdx.x % kWarp < kLanes) shared[(row * kWarps + warp) * kBlockColumns + lane * kVector + v] = sum;
    }
  __syncthreads();
  for (int i = threadIdx.x; i < ROWS * kBlockColumns; i += kThreads) {
    const int row = i / kBlockColumns, c = i % kBlockColumns;
    if (row >= args.m || column0 + c >= args.n) continue;
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) sum += shared[(row * kWarps + w) * kBlockColumns + c];
    put(args, row, column0 + c, sum);
  }
}

#endif
