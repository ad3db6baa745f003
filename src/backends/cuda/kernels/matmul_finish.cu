// Adds the sums of a product whose k was split among blocks, always in the same order, and applies the epilogue.
// SUM is their type. One thread per result. Floor: splits * m * n * 4 bytes over the bandwidth, mostly of the cache.
#include "epilogue.cuh"
#include "matmul_args.h"

KERNEL(256, MatmulArgs) {
  const i64 size = args.m * args.n, i = i64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= size) return;
  SUM sums[1] = {0};
  for (int split = 0; split < args.splits; ++split) sums[0] += static_cast<const SUM*>(args.partial)[split * size + i];
  finish<1>(args.epilogue, args.output, 0, args.first_row + i / args.n, i % args.n, args.first_row * args.n + i, sums);
}
