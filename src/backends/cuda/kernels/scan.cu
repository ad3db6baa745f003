// Running sums and products along an axis. Along the last one (INNER = 0) a block scans a row, 256 * ITEMS elements at
// a time; along others a thread scans a column, neighbours side by side. Floor: bytes of x and y over the bandwidth.
// ELEMENT, WIDE as in reduction.cuh; PRODUCT, EXCLUSIVE, REVERSE are 0 or 1.
#include "prelude.cuh"
#include "reduce_args.h"

using T = ELEMENT;
constexpr int kThreads = 256, kItems = 4, kWarps = kThreads / kWarp;

inline __device__ WIDE identity() { return PRODUCT ? 1 : 0; }
inline __device__ WIDE combine(WIDE a, WIDE b) { return PRODUCT ? a * b : a + b; }
inline __device__ void write(T* to, WIDE x) { *to = from_register<T>(Register<T>(x)); }

// Inclusive, over the lanes of a warp.
inline __device__ WIDE scan_warp(WIDE x) {
#pragma unroll
  for (int step = 1; step < kWarp; step *= 2) {
    const WIDE before = __shfl_up_sync(FULL_MASK, x, step);
    if (threadIdx.x % kWarp >= step) x = combine(before, x);
  }
  return x;
}

#if INNER
KERNEL(kThreads, ScanArgs) {
  const i64 column = i64(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= args.outer * args.inner) return;
  const i64 first = column / args.inner * args.size * args.inner + column % args.inner;
  WIDE total = identity();
#pragma unroll 4
  for (i64 i = 0; i < args.size; ++i) {
    const i64 at = first + (REVERSE ? args.size - 1 - i : i) * args.inner;
    const WIDE next = combine(total, WIDE(to_register(static_cast<const T*>(args.input)[at])));
    write(static_cast<T*>(args.output) + at, EXCLUSIVE ? total : next);
    total = next;
  }
}
#else
KERNEL(kThreads, ScanArgs) {
  __shared__ WIDE totals[kWarps];
  const T* from = static_cast<const T*>(args.input) + blockIdx.x * args.size;
  T* to = static_cast<T*>(args.output) + blockIdx.x * args.size;
  const auto position = [&](i64 i) { return REVERSE ? args.size - 1 - i : i; };
  WIDE carry = identity();
  for (i64 first = 0; first < args.size; first += kThreads * kItems) {
    const i64 mine = first + threadIdx.x * kItems;
    WIDE x[kItems], total = identity();
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      x[i] = mine + i < args.size ? WIDE(to_register(from[position(mine + i)])) : identity();
      total = combine(total, x[i]);
    }
    const WIDE scanned = scan_warp(total);
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    if (lane == kWarp - 1) totals[warp] = scanned;
    __syncthreads();
    // What comes before this thread: the chunks done, the warps and the lanes before it.
    WIDE before = carry;
    for (int w = 0; w < kWarps; ++w) {
      if (w == warp) before = carry;
      carry = combine(carry, totals[w]);
    }
    const WIDE lanes = __shfl_up_sync(FULL_MASK, scanned, 1);
    if (lane > 0) before = combine(before, lanes);
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const WIDE next = combine(before, x[i]);
      if (mine + i < args.size) write(to + position(mine + i), EXCLUSIVE ? before : next);
      before = next;
    }
    __syncthreads();
  }
}
#endif
