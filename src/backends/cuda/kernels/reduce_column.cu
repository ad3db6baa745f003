// Reductions along an axis that is not the last: neighbouring threads have neighbouring results, VECTOR each; the warps
// of a block share the elements of a result, and blocks do so too with SPLIT. Floor: bytes of x over the bandwidth.
#include "reduce_args.h"
#include "reduction.cuh"

constexpr int kWarps = 8;

KERNEL(kWarps * kWarp, ReduceArgs) {
  __shared__ State scratch[kWarps][kWarp][VECTOR];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  constexpr int kColumns = kWarp * VECTOR;
  const i64 blocks = (args.inner + kColumns - 1) / kColumns;
  const i64 outer = blockIdx.x / blocks, column = blockIdx.x % blocks * kColumns + lane * VECTOR;
  State states[VECTOR];
#pragma unroll
  for (int e = 0; e < VECTOR; ++e) states[e] = State::identity();
  if (column < args.inner) {
    const T* from = static_cast<const T*>(args.input) + outer * args.size * args.inner + column;
    const i64 begin = SPLIT ? blockIdx.y * args.per_split : 0;
    const i64 end = SPLIT ? min(args.size, begin + args.per_split) : args.size;
#pragma unroll 4
    for (i64 i = begin + warp; i < end; i += kWarps) {
      const auto pack = load_pack<VECTOR>(from + i * args.inner);
#pragma unroll
      for (int e = 0; e < VECTOR; ++e) states[e].add(WIDE(to_register(pack[e])), i);
    }
  }
#pragma unroll
  for (int e = 0; e < VECTOR; ++e) scratch[warp][lane][e] = states[e];
  __syncthreads();
  if (warp != 0 || column >= args.inner) return;
#pragma unroll
  for (int e = 0; e < VECTOR; ++e) {
#pragma unroll
    for (int w = 1; w < kWarps; ++w) states[e].merge(scratch[w][lane][e]);
    write_part(args, outer * args.inner + column + e, states[e]);
  }
}
