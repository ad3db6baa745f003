// Integers of BITS bits, 4 or 8, SIGNED or not, as weights are stored: of 4 bits two in a byte, the lower half first.
#pragma once

#include "prelude.cuh"

constexpr int kMiddle = SIGNED ? 0 : 1 << (BITS - 1);  // the zero of those that have none of their own

// The bits of an element, among others above them.
inline __device__ u8 bits_at(const void* integers, i64 index) {
  return static_cast<const u8*>(integers)[index * BITS / 8] >> index * BITS % 8;
}
inline __device__ int integer_of(u32 bits) {
  constexpr u32 kSign = 1u << (BITS - 1);
  const int value = int(bits & (2 * kSign - 1));
  return SIGNED ? (value ^ int(kSign)) - int(kSign) : value;
}
