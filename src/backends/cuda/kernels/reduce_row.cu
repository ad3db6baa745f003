// Reductions along the last axis, and of everything: a warp or a block per result, or per part of one (SPLIT), packs of
// VECTOR elements. Floor: bytes of x over the bandwidth. GROUP threads share a result.
#include "reduce_args.h"
#include "reduction.cuh"

constexpr int kThreads = 256;

KERNEL(kThreads, ReduceArgs) {
  __shared__ State scratch[kWarp];
  const i64 result = i64(blockIdx.x) * (kThreads / GROUP) + threadIdx.x / GROUP;
  const int member = threadIdx.x % GROUP;
  State state = State::identity();
  if (result < args.results) {
    const T* from = static_cast<const T*>(args.input) + result * args.size;
    const i64 begin = SPLIT ? blockIdx.y * args.per_split : 0;
    const i64 end = SPLIT ? min(args.size, begin + args.per_split) : args.size;
#pragma unroll 4
    for (i64 i = begin + member * VECTOR; i < end; i += GROUP * VECTOR) {
      const auto pack = load_pack<VECTOR>(from + i);
#pragma unroll
      for (int e = 0; e < VECTOR; ++e) state.add(WIDE(to_register(pack[e])), i + e);
    }
  }
  state = merge_warp(state);
  if constexpr (GROUP > kWarp) {
    if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = state;
    __syncthreads();
    state = threadIdx.x % kWarp < kThreads / kWarp ? scratch[threadIdx.x % kWarp] : State::identity();
    state = merge_warp(state);
  }
  if (member == 0 && result < args.results) write_part(args, result, state);
}
