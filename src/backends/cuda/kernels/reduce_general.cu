// Reductions of axes that do not lie side by side: a warp per result, which finds its elements axis by axis.
#include "reduce_args.h"
#include "reduction.cuh"

constexpr int kThreads = 256;

inline __device__ i64 offset_of(const ReduceArgs& args, u64 flat, int first, int rank) {
  i64 offset = 0;
  for (int axis = first + rank - 1; axis >= first; --axis) {
    const u64 size = args.sizes[axis];
    offset += i64(flat % size) * args.strides[axis];
    flat /= size;
  }
  return offset;
}

KERNEL(kThreads, ReduceArgs) {
  const i64 result = i64(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp;
  if (result >= args.results) return;
  const T* from = static_cast<const T*>(args.input) + offset_of(args, result, 0, args.kept_rank);
  State state = State::identity();
  for (i64 i = threadIdx.x % kWarp; i < args.size; i += kWarp)
    state.add(WIDE(to_register(from[offset_of(args, i, args.kept_rank, args.reduced_rank)])), i);
  state = merge_warp(state);
  if (threadIdx.x % kWarp == 0) write_result(args, result, state);
}
