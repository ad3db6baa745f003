// Updates of single elements of a tensor by many threads at once.
// REDUCTION: what an update does to the element (0 replaces it); TYPE: the element type, where that matters.
#pragma once

#include "movement.cuh"

#define REDUCE_NONE 0
#define REDUCE_ADD 1
#define REDUCE_MUL 2
#define REDUCE_MAX 3
#define REDUCE_MIN 4

#if REDUCTION == REDUCE_NONE

// Only unique indices are allowed, so plain stores give the same result in any order.
template <class F>
inline __device__ void dispatch_element(int unit, F f) {
  dispatch_unit(unit, f);
}
template <class U>
inline __device__ void update(U* element, const U& change) {
  *element = change;
}

#else

template <class F>
inline __device__ void dispatch_element(int, F f) {
  f(TYPE());
}

template <class R>
inline __device__ R combine(R old, R change) {
#if REDUCTION == REDUCE_MAX
  return old != old || change < old ? old : change;
#elif REDUCTION == REDUCE_MIN
  return old != old || change > old ? old : change;
#elif REDUCTION == REDUCE_ADD
  return R(old + change);
#else
  return R(old * change);
#endif
}
#if REDUCTION == REDUCE_MUL  // integers wrap
inline __device__ i32 combine(i32 old, i32 change) { return i32(u32(old) * u32(change)); }
inline __device__ i64 combine(i64 old, i64 change) { return i64(u64(old) * u64(change)); }
#endif
template <int Bytes>
struct BitsOf;
template <>
struct BitsOf<1> {
  using type = u8;
};
template <>
struct BitsOf<2> {
  using type = u16;
};
template <>
struct BitsOf<4> {
  using type = u32;
};
template <>
struct BitsOf<8> {
  using type = u64;
};

template <class T, class Bits>
inline __device__ Bits combined_bits(Bits old_bits, T change) {
  T old;
  memcpy(&old, &old_bits, sizeof(T));
  const T result = from_register<T>(combine(to_register(old), to_register(change)));
  Bits bits;
  memcpy(&bits, &result, sizeof(T));
  return bits;
}

// Elements of 4 and 8 bytes are exchanged as they are, smaller ones within the word that they lie in.
template <class T>
inline __device__ void update_by_exchange(T* element, T change) {
  using Bits = typename BitsOf<sizeof(T)>::type;
  if constexpr (sizeof(T) >= 4) {
    Bits* bits = reinterpret_cast<Bits*>(element);
    Bits seen = *bits, assumed;
    do {
      assumed = seen;
      seen = atomicCAS(bits, assumed, combined_bits(assumed, change));
    } while (seen != assumed);
  } else {
    const u64 address = reinterpret_cast<u64>(element);
    u32* word = reinterpret_cast<u32*>(address & ~u64(3));
    const int shift = int(address & 3) * 8;
    const u32 mask = ((1u << sizeof(T) * 8) - 1) << shift;
    u32 seen = *word, assumed;
    do {
      assumed = seen;
      const u32 result = combined_bits(Bits(assumed >> shift), change);
      seen = atomicCAS(word, assumed, (assumed & ~mask) | result << shift);
    } while (seen != assumed);
  }
}

template <class T>
inline __device__ void update(T* element, T change) {
  update_by_exchange(element, change);
}

#if REDUCTION == REDUCE_ADD
inline __device__ void update(float* element, float change) { atomicAdd(element, change); }
inline __device__ void update(double* element, double change) { atomicAdd(element, change); }
inline __device__ void update(i32* element, i32 change) { atomicAdd(element, change); }
inline __device__ void update(u32* element, u32 change) { atomicAdd(element, change); }
inline __device__ void update(u64* element, u64 change) { atomicAdd(element, change); }
inline __device__ void update(i64* element, i64 change) { atomicAdd(reinterpret_cast<u64*>(element), u64(change)); }
#elif REDUCTION == REDUCE_MAX
inline __device__ void update(i32* element, i32 change) { atomicMax(element, change); }
inline __device__ void update(u32* element, u32 change) { atomicMax(element, change); }
inline __device__ void update(i64* element, i64 change) { atomicMax(element, change); }
inline __device__ void update(u64* element, u64 change) { atomicMax(element, change); }
#elif REDUCTION == REDUCE_MIN
inline __device__ void update(i32* element, i32 change) { atomicMin(element, change); }
inline __device__ void update(u32* element, u32 change) { atomicMin(element, change); }
inline __device__ void update(i64* element, i64 change) { atomicMin(element, change); }
inline __device__ void update(u64* element, u64 change) { atomicMin(element, change); }
#endif

#endif
