// Products of any types and layouts by multiply-adds: A, B storage types, ACC the type of sums. A block computes BM x
// BN results, a thread TM x TN of them in groups of four; tiles of BK = 8 go through shared memory, the next one being
// loaded into registers meanwhile. The fallback for f32 and halves without cuBLASLt or tensor cores, and the kernel for
// integers and f64.
// Floor: 2 m n k over the rate of multiply-adds (f32: 60 TFLOP/s; measured on an H100 at 2048^3: 21, cuBLASLt 51).
#include "epilogue.cuh"
#include "matmul_args.h"

constexpr int BK = 8;
constexpr int kColumnThreads = BN / TN;
constexpr int kThreads = BM / TM * kColumnThreads;
constexpr int kLoadsA = BM * BK / kThreads, kLoadsB = BN * BK / kThreads;
constexpr int kPad = 4;

inline __device__ ACC widen(float x) { return ACC(x); }
inline __device__ ACC widen(f16 x) { return ACC(to_float(x)); }
inline __device__ ACC widen(bf16 x) { return ACC(to_float(x)); }
template <class T>
inline __device__ ACC widen(T x) {
  return ACC(x);
}

// Position of element i of a BK x SIZE tile; neighbouring threads take elements that are neighbours in memory.
template <int SIZE, bool ALONG_K>
struct TilePosition {
  int outer, k;
  __device__ explicit TilePosition(int i) : outer(ALONG_K ? i / BK : i % SIZE), k(ALONG_K ? i % BK : i / SIZE) {}
};
using PositionA = TilePosition<BM, !TRANS_A>;
using PositionB = TilePosition<BN, TRANS_B>;

// The place of a thread's i-th row or column: groups of four, the groups SIZE / (COUNT / 4) apart.
template <int SIZE, int COUNT>
inline __device__ int place(int thread, int i) {
  return i / 4 * (SIZE / (COUNT / 4)) + thread * 4 + i % 4;
}

struct Tiles {
  ACC a[2][BK][BM + kPad];
  ACC b[2][BK][BN + kPad];
};

KERNEL(kThreads, MatmulArgs) {
  __shared__ Tiles tiles;
  const i64 row0 = i64(blockIdx.x) * BM, column0 = i64(blockIdx.y) * BN;
  const int thread_row = threadIdx.x / kColumnThreads, thread_column = threadIdx.x % kColumnThreads;
  for (i64 batch = blockIdx.z; batch < args.batches; batch += gridDim.z) {
    const A* a = static_cast<const A*>(args.a) + batch * args.a_batch;
    const B* b = static_cast<const B*>(args.b) + batch * args.b_batch;
    ACC sums[TM][TN] = {};
    ACC next_a[kLoadsA], next_b[kLoadsB];
    const auto fetch = [&](i64 k0) {
#pragma unroll
      for (int i = 0; i < kLoadsA; ++i) {
        const PositionA at(threadIdx.x + i * kThreads);
        const i64 row = row0 + at.outer, k = k0 + at.k;
        next_a[i] = row < args.m && k < args.k ? widen(a[TRANS_A ? k * args.lda + row : row * args.lda + k]) : ACC(0);
      }
#pragma unroll
      for (int i = 0; i < kLoadsB; ++i) {
        const PositionB at(threadIdx.x + i * kThreads);
        const i64 column = column0 + at.outer, k = k0 + at.k;
        next_b[i] =
            column < args.n && k < args.k ? widen(b[TRANS_B ? column * args.ldb + k : k * args.ldb + column]) : ACC(0);
      }
    };
    const auto put = [&](int stage) {
#pragma unroll
      for (int i = 0; i < kLoadsA; ++i) {
        const PositionA at(threadIdx.x + i * kThreads);
        tiles.a[stage][at.k][at.outer] = next_a[i];
      }
#pragma unroll
      for (int i = 0; i < kLoadsB; ++i) {
        const PositionB at(threadIdx.x + i * kThreads);
        tiles.b[stage][at.k][at.outer] = next_b[i];
      }
    };
    fetch(0);
    __syncthreads();
    put(0);
    __syncthreads();
    int stage = 0;
    for (i64 k0 = 0; k0 < args.k; k0 += BK) {
      const bool more = k0 + BK < args.k;
      if (more) fetch(k0 + BK);
#pragma unroll
      for (int k = 0; k < BK; ++k) {
        ACC left[TM], right[TN];
#pragma unroll
        for (int i = 0; i < TM; ++i) left[i] = tiles.a[stage][k][place<BM, TM>(thread_row, i)];
#pragma unroll
        for (int j = 0; j < TN; ++j) right[j] = tiles.b[stage][k][place<BN, TN>(thread_column, j)];
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
          for (int j = 0; j < TN; ++j) sums[i][j] += left[i] * right[j];
      }
      if (more) put(stage ^ 1);
      __syncthreads();
      stage ^= 1;
    }
#pragma unroll
    for (int i = 0; i < TM; ++i) {
      const i64 row = row0 + place<BM, TM>(thread_row, i);
      if (row >= args.m) continue;
      const i64 output_row = args.first_row + batch * args.m + row;
#pragma unroll
      for (int j = 0; j < TN; j += 4) {
        const i64 column = column0 + place<BN, TN>(thread_column, j), offset = output_row * args.n + column;
        if (args.n % 4 == 0 && column < args.n) {
          const ACC four[4] = {sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]};
          finish<4>(args.epilogue, args.output, 0, output_row, column, offset, four);
        } else {
#pragma unroll
          for (int c = 0; c < 4; ++c) {
            const ACC one[1] = {sums[i][j + c]};
            if (column + c < args.n) finish<1>(args.epilogue, args.output, 0, output_row, column + c, offset + c, one);
          }
        }
      }
    }
  }
}
