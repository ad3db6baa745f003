// The k largest or smallest elements of rows, sorted, ties by lower index first: one block per row. A radix search over
// (key, position) pairs, 11 bits at a time, finds the least pair that belongs to the result; pairs are unique, so
// exactly k reach it. These are collected in any order and sorted; short rows are sorted as a whole. A row is read once
// per digit (3 for elements of up to 4 bytes, unless keys tie) and once to collect, after the first time from the L2
// cache. TYPE: of the elements.
#include "ordering.cuh"
#include "select_args.h"

using Key = KeyOf<TYPE>;
constexpr int kDigitBits = 11;
constexpr int kDigits = 1 << kDigitBits;
constexpr int kDigitsPerLane = kDigits / kWarp;
constexpr int kKeyBits = sizeof(Key) * 8;

struct Row {
  const TYPE* x;
  i64 inner;
  Key flip;  // all ones when the smallest are wanted
  __device__ Key key(u32 i) const { return ordered_key(x[i * inner]) ^ flip; }
};

// Shared by the block: counts of one digit's values, padded so that lanes read different banks.
struct Histogram {
  u32 counts[kDigits + kWarp];
  u32 digit, above;  // what was found: the digit, and how many elements have a greater one
  __device__ static int slot(u32 digit) { return int(digit + digit / kDigitsPerLane); }
};

// The digit that the element with `wanted` elements from it upwards has. Called by one warp.
inline __device__ void find_digit(Histogram& histogram, u32 wanted) {
  const int lane = threadIdx.x;
  const int top = kDigits - 1 - lane * kDigitsPerLane;  // lanes go downwards
  u32 own = 0;
#pragma unroll 8
  for (int i = 0; i < kDigitsPerLane; ++i) own += histogram.counts[Histogram::slot(top - i)];
  const u32 until = warp_prefix_sum(own);
  u32 above = until - own;
  if (above >= wanted || until < wanted) return;
  int digit = top;
  for (; above + histogram.counts[Histogram::slot(digit)] < wanted; --digit)
    above += histogram.counts[Histogram::slot(digit)];
  histogram.digit = digit;
  histogram.above = above;
}

// The part of a pair that has been decided so far.
struct Bound {
  Key key = 0, key_mask = 0;
  u32 order = 0, order_mask = 0;
  __device__ bool equals(Key k, u32 o) const { return (k & key_mask) == key && (o & order_mask) == order; }
  __device__ bool reached(Key k, u32 o) const {
    const Key masked = k & key_mask;
    return masked != key ? masked > key : (o & order_mask) >= order;
  }
};

// One digit of the bound: bits from `shift` on, of the key or of the position. False when nothing is left to decide.
inline __device__ bool refine(const Row& row, u32 n, Histogram& histogram, Bound& bound, u32& wanted, int shift,
                              bool of_key) {
  for (int i = threadIdx.x; i < kDigits + kWarp; i += blockDim.x) histogram.counts[i] = 0;
  __syncthreads();
  for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
    const Key key = row.key(i);
    const u32 order = ordered_position(i);
    if (!bound.equals(key, order)) continue;
    const u32 digit = (of_key ? u32(key >> shift) : order >> shift) & (kDigits - 1);
    atomicAdd(&histogram.counts[Histogram::slot(digit)], 1);
  }
  __syncthreads();
  if (threadIdx.x < kWarp) find_digit(histogram, wanted);
  __syncthreads();
  const u32 digit = histogram.digit;
  wanted -= histogram.above;
  const bool all = histogram.counts[Histogram::slot(digit)] == wanted;
  if (of_key) {
    bound.key |= Key(digit) << shift;
    bound.key_mask |= Key(kDigits - 1) << shift;
  } else {
    bound.order |= digit << shift;
    bound.order_mask |= u32(kDigits - 1) << shift;
  }
  __syncthreads();  // before the next digit clears the counts
  return !all;
}

inline __device__ Bound find_bound(const Row& row, u32 n, u32 kept, Histogram& histogram) {
  Bound bound;
  u32 wanted = kept;
  bool open = kept < n;
#pragma unroll 1
  for (int end = kKeyBits; open && end > 0; end -= kDigitBits)
    open = refine(row, n, histogram, bound, wanted, end > kDigitBits ? end - kDigitBits : 0, true);
#pragma unroll 1
  for (int end = 32; open && end > 0; end -= kDigitBits)
    open = refine(row, n, histogram, bound, wanted, end > kDigitBits ? end - kDigitBits : 0, false);
  return bound;
}

KERNEL(kTopKThreads, TopKArgs) {
  extern __shared__ u64 shared_keys[];
  __shared__ Histogram histogram;
  __shared__ u32 found;
  const i64 outer = blockIdx.x / args.inner, inner = blockIdx.x % args.inner;
  const Row row = {static_cast<const TYPE*>(args.x) + outer * args.n * args.inner + inner, args.inner,
                   args.largest ? Key(0) : ~Key(0)};
  constexpr int kPairBytes = sizeof(Key) + sizeof(u32);
  Key* keys = args.in_shared
                  ? reinterpret_cast<Key*>(shared_keys)
                  : reinterpret_cast<Key*>(static_cast<u8*>(args.keys) + u64(blockIdx.x) * args.padded * kPairBytes);
  u32* orders = reinterpret_cast<u32*>(keys + args.padded);
  if (threadIdx.x == 0) found = 0;
  for (u32 i = args.kept + threadIdx.x; i < args.padded; i += blockDim.x) {
    keys[i] = 0;
    orders[i] = 0;
  }
  __syncthreads();

  const Bound bound = find_bound(row, args.n, args.kept, histogram);
  for (u32 i = threadIdx.x; i < args.n; i += blockDim.x) {
    const Key key = row.key(i);
    const u32 order = ordered_position(i);
    if (!bound.reached(key, order)) continue;
    const u32 at = atomicAdd(&found, 1);
    keys[at] = key;
    orders[at] = order;
  }
  __syncthreads();
  sort_descending(keys, orders, args.padded);

  TYPE* values = static_cast<TYPE*>(args.values);
  for (u32 i = threadIdx.x; i < args.k; i += blockDim.x) {
    const i64 to = (outer * args.k + i) * args.inner + inner;
    const u32 from = ordered_position(orders[i]);
    values[to] = row.x[from * args.inner];
    args.indices[to] = from;
  }
}
