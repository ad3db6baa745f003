// Keys that order elements as unsigned integers, and sorting lists of (key, position) by the threads of a block.
#pragma once

#include "prelude.cuh"

template <bool Wide>
struct KeyType {
  using type = u32;
};
template <>
struct KeyType<true> {
  using type = u64;
};
template <class T>
using KeyOf = typename KeyType<(sizeof(T) > 4)>::type;

// A greater element has a greater key; zeros of both signs have the same one; NaN is above every number.
inline __device__ u32 ordered_key(float x) {
  if (x != x) return ~0u;
  const u32 bits = __float_as_uint(x == 0 ? 0.0f : x);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
inline __device__ u64 ordered_key(double x) {
  if (x != x) return ~u64(0);
  const u64 bits = static_cast<u64>(__double_as_longlong(x == 0 ? 0.0 : x));
  return bits >> 63 ? ~bits : bits | (u64(1) << 63);
}
inline __device__ u32 ordered_key(f16 x) { return ordered_key(to_float(x)); }
inline __device__ u32 ordered_key(bf16 x) { return ordered_key(to_float(x)); }
inline __device__ u32 ordered_key(i32 x) { return u32(x) ^ 0x80000000u; }
inline __device__ u32 ordered_key(i16 x) { return ordered_key(i32(x)); }
inline __device__ u32 ordered_key(i8 x) { return ordered_key(i32(x)); }
inline __device__ u64 ordered_key(i64 x) { return u64(x) ^ (u64(1) << 63); }
inline __device__ u32 ordered_key(u32 x) { return x; }
inline __device__ u32 ordered_key(u16 x) { return x; }
inline __device__ u32 ordered_key(u8 x) { return x; }
inline __device__ u32 ordered_key(bool x) { return x; }
inline __device__ u64 ordered_key(u64 x) { return x; }

// Positions count down from the largest, so that of equal keys the first element is the greatest.
inline __device__ u32 ordered_position(u32 i) { return ~i; }

template <class Key>
inline __device__ bool is_above(Key key_a, u32 order_a, Key key_b, u32 order_b) {
  return key_a != key_b ? key_a > key_b : order_a > order_b;
}

// Greatest first, bitonic; `padded` is a power of two. Ends with a barrier.
template <class Key>
inline __device__ void sort_descending(Key* keys, u32* orders, u32 padded) {
  for (u32 run = 2; run <= padded; run *= 2) {
    for (u32 distance = run / 2; distance > 0; distance /= 2) {
      for (u32 pair = threadIdx.x; pair < padded / 2; pair += blockDim.x) {
        const u32 a = 2 * pair - (pair & (distance - 1)), b = a + distance;
        const bool descending = (a & run) == 0;
        if (is_above(keys[b], orders[b], keys[a], orders[a]) == descending) {
          const Key key = keys[a];
          keys[a] = keys[b];
          keys[b] = key;
          const u32 order = orders[a];
          orders[a] = orders[b];
          orders[b] = order;
        }
      }
      __syncthreads();
    }
  }
}
