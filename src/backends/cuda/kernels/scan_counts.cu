// Running sums of counts, by one block.
#include "prelude.cuh"
#include "select_args.h"

KERNEL(kScanThreads, ScanArgs) {
  __shared__ u64 warp_sums[kScanThreads / kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  u64 carried = 0;
  for (u64 first = 0; first < args.n; first += kScanThreads) {
    const u64 i = first + threadIdx.x;
    const u64 own = i < args.n ? args.counts[i] : 0;
    const u64 until = warp_prefix_sum(own);
    if (lane == kWarp - 1) warp_sums[warp] = until;
    __syncthreads();
    u64 before = carried;
    for (int w = 0; w < kScanThreads / kWarp; ++w) {
      if (w < warp) before += warp_sums[w];
      carried += warp_sums[w];
    }
    if (i < args.n) args.counts[i] = before + until - own;
    __syncthreads();
  }
  if (threadIdx.x == 0) args.counts[args.n] = carried;
}
