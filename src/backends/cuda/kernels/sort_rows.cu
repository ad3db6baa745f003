// Rows of a product by the matrix that they have chosen, those of one matrix in order: warps count the rows of a group
// and, once the counts have been summed up, list them. One block. Floor: a launch.
#include "grouped_matmul_args.h"
#include "prelude.cuh"

constexpr int kWarps = kSortThreads / kWarp;

inline __device__ bool chooses(const SortRowsArgs& args, int row, int group) {
  return row < args.rows && int(read_index(args.chosen, args.wide_choices, row)) == group;
}

// In place, by one warp: counts become the sums of those before.
inline __device__ void sum_up(int* counts, int n) {
  const int lane = threadIdx.x;
  int before = 0;
  for (int first = 0; first < n; first += kWarp) {
    const int i = first + lane, count = i < n ? counts[i] : 0;
    const int sum = warp_prefix_sum(count);
    if (i < n) counts[i] = before + sum - count;
    before += __shfl_sync(FULL_MASK, sum, kWarp - 1);
  }
}

KERNEL(kSortThreads, SortRowsArgs) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  for (int group = warp; group < args.groups; group += kWarps) {
    int count = 0;
    for (int first = 0; first < args.rows; first += kWarp)
      count += __popc(__ballot_sync(FULL_MASK, chooses(args, first + lane, group)));
    if (lane == 0) args.ends[group] = count;
  }
  __syncthreads();
  if (warp == 0) sum_up(args.ends, args.groups);
  __syncthreads();
  for (int group = warp; group < args.groups; group += kWarps) {
    int at = args.ends[group];
    for (int first = 0; first < args.rows; first += kWarp) {
      const bool mine = chooses(args, first + lane, group);
      const u32 votes = __ballot_sync(FULL_MASK, mine);
      if (mine) args.order[at + __popc(votes & ((1u << lane) - 1))] = first + lane;
      at += __popc(votes);
    }
    __syncwarp();
    if (lane == 0) args.ends[group] = at;
  }
}
