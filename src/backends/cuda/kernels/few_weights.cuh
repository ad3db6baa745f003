// Weights of 16, 8 or 4 bits on their way to tensor cores: from memory into registers, and from there into pairs of
// halves that hold them less their zeros, exactly. Defined by the host: TYPE (of the halves, f16 or bf16), BITS, SIGNED
// (of integers), LANE (terms that a thread takes of a row at a time).
#pragma once

#include "narrow_integers.cuh"
#include "tensor_core.cuh"

using T = TYPE;
constexpr int kWords = LANE * BITS / 32, kPairs = LANE / 2;
static_assert(kWords == 1 || kWords == 2 || kWords == 4);

struct Words {
  u32 word[kWords];
};

// Weights pass through once: the cache of the multiprocessor is for what is read again.
inline __device__ void load_once(Words& to, const void* from) {
#if LANE * BITS == 128
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(to.word[0]), "=r"(to.word[1]), "=r"(to.word[2]), "=r"(to.word[3])
               : "l"(from));
#elif LANE * BITS == 64
  asm volatile("ld.global.L1::no_allocate.v2.u32 {%0, %1}, [%2];"
               : "=r"(to.word[0]), "=r"(to.word[1])
               : "l"(from));
#else
  asm volatile("ld.global.L1::no_allocate.u32 %0, [%1];" : "=r"(to.word[0]) : "l"(from));
#endif
}

inline __device__ u32 pair_of(float low, float high) {
  return u32(from_float<T>(low).bits) | u32(from_float<T>(high).bits) << 16;
}
inline __device__ u32 subtract(u32 a, u32 b, f16) {
  u32 y;
  asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(y) : "r"(a), "r"(b));
  return y;
}
inline __device__ u32 subtract(u32 a, u32 b, bf16) {  // a * 1 - b
  u32 y;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(y) : "r"(a), "r"(0x3f803f80u), "r"(b ^ 0x80008000u));
  return y;
}

// An integer becomes a float without a conversion: its bits are the last ones of the mantissa of a power of two, which
// is subtracted again. Signed ones are made unsigned before, by an offset; that and their zero are subtracted too.
constexpr u32 kFlip = SIGNED ? (BITS == 4 ? 0x88888888u : 0x80808080u) : 0;  // makes signed ones unsigned
constexpr float kOffset = SIGNED ? 1 << (BITS - 1) : 0;

// Those bits of a word, flipped, among others.
template <u32 MASK>
inline __device__ u32 put_bits(u32 word, u32 others) {
  u32 y;  // (word & MASK) ^ .., which compilers split in two
  asm("lop3.b32 %0, %1, %2, %3, 0x6a;" : "=r"(y) : "r"(word), "n"(MASK), "r"(others | (kFlip & MASK)));
  return y;
}

template <class Half>
struct Expand;

template <>
struct Expand<f16> {
  u32 low, high;  // nibbles of the upper half of a byte are 16 times as far from the last bit: of 64, not of 1024

  explicit __device__ Expand(float zero)
      : low(pair_of(1024 + kOffset + zero, 1024 + kOffset + zero)),
        high(pair_of(64 + kOffset + zero, 64 + kOffset + zero)) {}
  __device__ void bytes(u32* pairs, u32 word) const {
    pairs[0] = subtract(__byte_perm(word, 0x64, 0x4140), low, f16());
    pairs[1] = subtract(__byte_perm(word, 0x64, 0x4342), low, f16());
  }
  __device__ void nibbles(u32* pairs, u32 word) const {
#pragma unroll
    for (int i = 0; i < 4; i += 2, word >>= 8) {
      pairs[i] = subtract(put_bits<0x000f000f>(word, 0x64006400), low, f16());
      pairs[i + 1] = subtract(put_bits<0x00f000f0>(word, 0x54005400), high, f16());
    }
  }
};

template <>
struct Expand<bf16> {
  u32 low;
  float wide;  // bytes take a detour: bf16 has 8 bits, of which the power of two needs one

  explicit __device__ Expand(float zero)
      : low(pair_of(128 + kOffset + zero, 128 + kOffset + zero)), wide(8388608 + kOffset + zero) {}
  __device__ float byte(u32 word, u32 which) const {
    return __uint_as_float(__byte_perm(word, 0x4b000000, 0x7440 + which)) - wide;
  }
  __device__ void bytes(u32* pairs, u32 word) const {
    pairs[0] = pair_of(byte(word, 0), byte(word, 1));
    pairs[1] = pair_of(byte(word, 2), byte(word, 3));
  }
  __device__ void nibbles(u32* pairs, u32 word) const {
#pragma unroll
    for (int i = 0; i < 4; ++i, word >>= 4) pairs[i] = subtract(put_bits<0x000f000f>(word, 0x43004300), low, bf16());
  }
};

// The order of terms does not matter as long as both factors keep to it: pairs of nibbles are (0, 4), (1, 5), (2, 6),
// (3, 7) of each eight.
inline __device__ void expand(u32 (&pairs)[kPairs], const Words& words, const Expand<T>& how) {
#pragma unroll
  for (int i = 0; i < kWords; ++i) {
    u32* of_word = pairs + i * (kPairs / kWords);
    if (BITS == 4)
      how.nibbles(of_word, words.word[i]);
    else if (BITS == 8)
      how.bytes(of_word, words.word[i] ^ kFlip);
    else
      of_word[0] = words.word[i];
  }
}
// Brings pairs of neighbours into that order.
inline __device__ void match_order_of_eight(u32 (&pairs)[4]) {
  if (BITS != 4) return;
  const u32 p[4] = {pairs[0], pairs[1], pairs[2], pairs[3]};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    pairs[2 * half] = __byte_perm(p[half], p[half + 2], 0x5410);
    pairs[2 * half + 1] = __byte_perm(p[half], p[half + 2], 0x7632);
  }
}
inline __device__ void match_order(u32 (&pairs)[kPairs]) {
#pragma unroll
  for (int i = 0; i < kPairs; i += 4) match_order_of_eight(reinterpret_cast<u32(&)[4]>(pairs[i]));
}
