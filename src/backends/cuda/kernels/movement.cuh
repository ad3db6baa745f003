// What data-movement kernels share: units, division of positions, and the loop in which every thread loads several
// units before it stores any. All of them are bound by memory: the floor is (bytes read + bytes written) / 3.0 TB/s on
// an H100. A unit has 16 bytes wherever that is possible, so a copy takes one instruction per 16 bytes each way and
// about 15 more per axis to find the address.
#pragma once

#include "movement_args.h"
#include "prelude.cuh"

using Unit16 = Pack<u32, 4>;

// Calls f with a value of the unit's type. One kernel serves all units: the branch is the same for all threads.
template <class F>
inline __device__ void dispatch_unit(int unit, F f) {
  switch (unit) {
    case 1: f(u8()); break;
    case 2: f(u16()); break;
    case 4: f(u32()); break;
    case 8: f(u64()); break;
    default: f(Unit16()); break;
  }
}

template <class U>
struct Zero {
  static __device__ U value() { return 0; }
};
template <>
struct Zero<Unit16> {
  static __device__ Unit16 value() { return {{0, 0, 0, 0}}; }
};

// n = quotient * d + remainder; n takes the quotient, the remainder is returned.
inline __device__ u32 split(u32& n, const Divisor& d) {
  const u32 quotient = (__umulhi(n, d.multiplier) + n) >> d.shift;
  const u32 remainder = n - quotient * static_cast<u32>(d.value);
  n = quotient;
  return remainder;
}
inline __device__ u64 split(u64& n, const Divisor& d) {
  const u64 quotient = n / d.value, remainder = n - quotient * d.value;
  n = quotient;
  return remainder;
}

// position * stride; both fit in 31 bits when positions are u32.
inline __device__ i64 stretch(u32 position, i64 stride) { return i64(int(position)) * int(stride); }
inline __device__ i64 stretch(u64 position, i64 stride) { return i64(position) * stride; }

// Calls load(i) for all units of this thread, then store(i, unit).
template <class U, class Load, class Store>
inline __device__ void move_units(u64 total, Load load, Store store) {
  const INDEX first = INDEX(blockIdx.x) * (kMoveThreads * kMoveItems) + threadIdx.x;
  U units[kMoveItems];
#pragma unroll
  for (int item = 0; item < kMoveItems; ++item) {
    const INDEX i = first + item * kMoveThreads;
    if (i < total) units[item] = load(i);
  }
#pragma unroll
  for (int item = 0; item < kMoveItems; ++item) {
    const INDEX i = first + item * kMoveThreads;
    if (i < total) store(i, units[item]);
  }
}

// Negative indices count from the end. False when out of range.
inline __device__ bool resolve_index(i64& index, i64 limit) {
  if (index < 0) index += limit;
  return u64(index) < u64(limit);
}

// The place in the indexed tensor that GatherElements or ScatterElements means by element i; -1: nowhere.
inline __device__ i64 element_offset(const ElementsArgs& args, INDEX i) {
  i64 index = read_index(args.indices, args.wide_indices, i);
  if (!resolve_index(index, args.limit)) return -1;
  i64 offset = index * args.axis_stride;
  for (int axis = args.rank - 1; axis >= 0; --axis) offset += stretch(split(i, args.sizes[axis]), args.strides[axis]);
  return offset;
}

// Likewise for unit i of the slices of GatherNd or ScatterNd.
inline __device__ i64 slice_offset(const SlicesArgs& args, INDEX i) {
  i64 offset = split(i, args.slice);
  const u64 row = u64(i) * args.depth;
  split(i, args.rows_per_batch);
  offset += i64(i * args.batch_stride);
  for (int axis = 0; axis < args.depth; ++axis) {
    i64 index = read_index(args.indices, args.wide_indices, row + axis);
    if (!resolve_index(index, args.limits[axis])) return -1;
    offset += index * args.strides[axis];
  }
  return offset;
}
