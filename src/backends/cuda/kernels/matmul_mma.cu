// Products on tensor cores with the epilogue computed while storing: A and B are the types of the factors, SUM that of
// sums (tensor_core.cuh); factors of one byte need TRANS_B. A block computes 128 x 128 results, each of its eight warps
// 64 x 32; STAGES tiles of 64 bytes of terms are on their way to shared memory at a time. Lines of both factors are
// multiples of 16 bytes. With several splits of k each block stores its sums, and matmul_finish.cu adds them in order.
// Floor: 2 m n k over the rate of mma.sync (about 60% of Hopper's peak, all of Ampere's). Measured on an H100 at
// 4096^3 in f16: 0.65 ms, where cuBLASLt takes 0.16, so it serves where that is missing.
#include "epilogue.cuh"
#include "matmul_args.h"
#include "tensor_core.cuh"

constexpr int BM = 128, BN = 128, kThreads = 256;
constexpr int BK = 64 / sizeof(A), kStep = 32 / sizeof(A), kChunk = 16 / sizeof(A);  // terms: tile, instruction, copy
constexpr int kWarpRows = 64, kWarpColumns = 32;
constexpr int kRowTiles = kWarpRows / 16, kColumnTiles = kWarpColumns / 8;
// Pitches of an odd number of 16-byte units: no bank conflicts.
constexpr int kPitchA = BK + kChunk;
constexpr int kLinesB = TRANS_B ? BN : BK, kWidthB = TRANS_B ? BK : BN, kPitchB = kWidthB + kChunk;
constexpr int kBytesA = BM * kPitchA * sizeof(A), kBytesB = kLinesB * kPitchB * sizeof(B);
static_assert(sizeof(A) == sizeof(B) && (TRANS_B || sizeof(B) == 2));

// Brings LINES x WIDTH elements of a matrix to shared memory; zeros stand where it ends.
template <int LINES, int WIDTH, int PITCH, class T>
inline __device__ void fetch(T* tile, const T* from, i64 leading, i64 line0, i64 lines, i64 column0,
                             i64 columns) {
  constexpr int kPerLine = WIDTH / kChunk;
#pragma unroll
  for (int i = threadIdx.x; i < LINES * kPerLine; i += kThreads) {
    const int line = i / kPerLine, column = i % kPerLine * kChunk;
    const bool inside = line0 + line < lines && column0 + column < columns;
    copy_16(tile + line * PITCH + column, inside ? from + (line0 + line) * leading + column0 + column : from, inside);
  }
}

KERNEL(kThreads, MatmulArgs) {
  extern __shared__ __align__(16) u8 memory[];
  const i64 row0 = i64(blockIdx.x) * BM, column0 = i64(blockIdx.y) * BN;
  const i64 batch = blockIdx.z / args.splits, split = blockIdx.z % args.splits;
  const A* a = static_cast<const A*>(args.a) + batch * args.a_batch;
  const B* b = static_cast<const B*>(args.b) + batch * args.b_batch;
  const auto tile_of_a = [&](int step) {
    return reinterpret_cast<A*>(memory + step % STAGES * (kBytesA + kBytesB));
  };
  const auto tile_of_b = [&](int step) {
    return reinterpret_cast<B*>(memory + step % STAGES * (kBytesA + kBytesB) + kBytesA);
  };
  const i64 begin = split * args.k_per_split, limit = begin + args.k_per_split;
  const i64 end = limit < args.k ? limit : args.k;
  const int steps = int((end - begin + BK - 1) / BK);
  const auto load = [&](int step) {
    if (step < steps) {
      const i64 k = begin + i64(step) * BK;
      fetch<BM, BK, kPitchA>(tile_of_a(step), a, args.lda, row0, args.m, k, end);
#if TRANS_B
      fetch<kLinesB, kWidthB, kPitchB>(tile_of_b(step), b, args.ldb, column0, args.n, k, end);
#else
      fetch<kLinesB, kWidthB, kPitchB>(tile_of_b(step), b, args.ldb, k, end, column0, args.n);
#endif
    }
    end_of_copies();
  };
#pragma unroll
  for (int step = 0; step < STAGES - 1; ++step) load(step);

  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int my_row = warp % (BM / kWarpRows) * kWarpRows, my_column = warp / (BM / kWarpRows) * kWarpColumns;
  SUM sums[kRowTiles][kColumnTiles][4] = {};
  for (int step = 0; step < steps; ++step) {
    wait_for_copies<STAGES - 2>();
    __syncthreads();
    load(step + STAGES - 1);
    const A* tile_a = tile_of_a(step);
    const B* tile_b = tile_of_b(step);
#pragma unroll
    for (int k = 0; k < BK; k += kStep) {
      u32 left[kRowTiles][4], right[kColumnTiles / 2][4];
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i)
        load_matrices_at<false>(left[i],
                                shared_address(tile_a + (my_row + i * 16 + lane % 16) * kPitchA + k + lane / 16 * kChunk));
#pragma unroll
      for (int j = 0; j < kColumnTiles / 2; ++j) {
        const int column = my_column + j * 16;
#if TRANS_B
        load_matrices_at<false>(
            right[j],
            shared_address(tile_b + (column + lane % 8 + lane / 16 * 8) * kPitchB + k + lane / 8 % 2 * kChunk));
#else
        load_matrices_at<true>(right[j], shared_address(tile_b + (k + lane % 16) * kPitchB + column + lane / 16 * 8));
#endif
      }
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
        for (int j = 0; j < kColumnTiles; ++j)
          multiply_add(sums[i][j], left[i], right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1], A(), B());
    }
  }
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const i64 row = row0 + my_row + i * 16 + half * 8 + lane / 4;
      if (row >= args.m) continue;
#pragma unroll
      for (int j = 0; j < kColumnTiles; ++j) {
        const i64 column = column0 + my_column + j * 8 + lane % 4 * 2;
        if (column >= args.n) continue;
        const SUM two[2] = {sums[i][j][half * 2], sums[i][j][half * 2 + 1]};
        if (args.splits > 1) {
          store_pack<2>(static_cast<SUM*>(args.partial) + (split * args.m + row) * args.n + column,
                        Pack<SUM, 2>{two[0], two[1]});
        } else {
          const i64 output_row = args.first_row + batch * args.m + row;
          finish<2>(args.epilogue, args.output, 0, output_row, column, output_row * args.n + column, two);
        }
      }
    }
}
