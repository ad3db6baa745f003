// Positions of the elements that are not zero, in two passes of the same walk: blocks count, and, once the counts are
// summed up, write. Each pass reads x once.
// TYPE: of the elements.
#include "movement.cuh"
#include "select_args.h"

KERNEL(kCountThreads, NonZeroArgs) {
  __shared__ u32 warp_counts[2][kCountThreads / kWarp];  // of this round and the one before: one barrier a round
  const TYPE* x = static_cast<const TYPE*>(args.x);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  u64 base = args.positions == nullptr ? 0 : args.counts[blockIdx.x];
  for (int round = 0; round < kCountRounds; ++round) {
    const u64 i = (u64(blockIdx.x) * kCountRounds + round) * kCountThreads + threadIdx.x;
    const bool is_set = i < args.n && to_register(x[i]) != 0;
    const u32 votes = __ballot_sync(FULL_MASK, is_set);
    u32(&counts)[kCountThreads / kWarp] = warp_counts[round % 2];
    if (lane == 0) counts[warp] = __popc(votes);
    __syncthreads();
    u32 before = 0, all = 0;
    for (int w = 0; w < kCountThreads / kWarp; ++w) {
      if (w < warp) before += counts[w];
      all += counts[w];
    }
    if (is_set && args.positions != nullptr) {
      const u64 at = base + before + __popc(votes & ((1u << lane) - 1));
      INDEX rest = INDEX(i);
      for (int axis = args.rank - 1; axis >= 0; --axis)
        args.positions[axis * args.total + at] = split(rest, args.sizes[axis]);
    }
    base += all;
  }
  if (args.positions == nullptr && threadIdx.x == 0) args.counts[blockIdx.x] = base;
}
