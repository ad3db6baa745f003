// Joins what attention kernels computed over parts of the keys. A block per row. Floor: the bytes of the partial
// results over the bandwidth.
#include "attention.cuh"

KERNEL(THREADS, AttentionArgs) {
  const i64 row = blockIdx.x;
  const int rows = args.queries * GROUP;
  const int pair = int(row / rows), index = int(row % rows);
  const int head = pair % KV_HEADS * GROUP + index % GROUP;
  T* to =
      static_cast<T*>(args.y.data) + pair / KV_HEADS * args.y.batch + head * args.y.head + index / GROUP * args.y.token;
  float largest = minus_infinity();
  for (int split = 0; split < args.splits; ++split) {
    const float* state = PartialRow(args, split, row).state;
    if (state[1] != 0) largest = fmaxf(largest, state[0]);
  }
  float sum = 0;
  for (int split = 0; split < args.splits; ++split) {
    const float* state = PartialRow(args, split, row).state;
    if (state[1] != 0) sum += state[1] * exp2_fast(state[0] - largest);
  }
  for (int column = threadIdx.x; column < VALUE_DIM; column += THREADS) {
    float total = 0;
    for (int split = 0; split < args.splits; ++split) {
      const PartialRow part(args, split, row);
      if (part.state[1] != 0) total += part.sums[column] * exp2_fast(part.state[0] - largest);
    }
    to[column] = from_float<T>(sum == 0 ? 0 : total / sum);
  }
}
