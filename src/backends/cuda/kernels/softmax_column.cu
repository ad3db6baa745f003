// Softmax and log-softmax along an axis that is not the last: neighbouring threads have neighbouring columns, the warps
// of a block share the rows of a column. Reads x twice, the second time mostly from L2. Definitions as in softmax.cu.
#include "prelude.cuh"
#include "row_args.h"

using T = ELEMENT;

constexpr int kColumnWarps = 8;

// The largest value so far and the sum of the exponentials of what was seen, relative to it.
struct Running {
  WIDE largest, sum;
  __device__ void add(WIDE other, WIDE weight) {
    const WIDE next = Max::combine(largest, other);
    // Without this, -inf - -inf would make a NaN of columns that begin with -inf.
    const WIDE base = next == WIDE(Max::identity()) ? WIDE(0) : next;
    sum = sum * exp(largest - base) + weight * exp(other - base);
    largest = next;
  }
};

KERNEL(kColumnWarps * kWarp, SoftmaxArgs) {
  __shared__ Running partial[kColumnWarps][kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const i64 blocks = (args.inner + kWarp - 1) / kWarp;
  const i64 outer = blockIdx.x / blocks, column = blockIdx.x % blocks * kWarp + lane;
  const bool inside = column < args.inner;
  const i64 first = outer * args.width * args.inner + column;
  const T* from = static_cast<const T*>(args.input) + first;
  Running mine{Max::identity(), 0};
  if (inside)
    for (i64 i = warp; i < args.width; i += kColumnWarps) mine.add(to_register(from[i * args.inner]), 1);
  partial[warp][lane] = mine;
  __syncthreads();
  Running all{Max::identity(), 0};
#pragma unroll
  for (int w = 0; w < kColumnWarps; ++w) all.add(partial[w][lane].largest, partial[w][lane].sum);
  if (!inside) return;
  const bool empty = SAFE && all.largest == WIDE(Max::identity());
  T* to = static_cast<T*>(args.output) + first;
  for (i64 i = warp; i < args.width; i += kColumnWarps) {
    const WIDE x = to_register(from[i * args.inner]);
    const WIDE y = LOG ? x - all.largest - log(all.sum) : exp(x - all.largest) / all.sum;
    to[i * args.inner] = from_register<T>(empty ? WIDE(0) : y);
  }
}
