// Merges the parts of results that several blocks computed; one thread per result.
#include "reduce_args.h"
#include "reduction.cuh"

KERNEL(128, ReduceArgs) {
  const i64 result = i64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (result >= args.results) return;
  State state = State::identity();
  for (int split = 0; split < args.splits; ++split)
    state.merge(static_cast<const State*>(args.partial)[split * args.results + result]);
  write_result(args, result, state);
}
