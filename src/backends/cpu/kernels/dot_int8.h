// Dot products of four bytes at a time, as each instruction set does them:
//   AVX-512  vpdpbusd. It is written in assembly because g++ 12 moves the accumulators of _mm512_dpbusd_epi32 from
//            register to register around every instruction, which makes it three times slower.
//   AVX2     both sides widened to 16 bits, vpmaddwd: vpmaddubsw would saturate. A column is a pair of half sums.
//   generic  shifts and 32-bit products.
//
// A row of 2 * kVecWidth sums is kept in kSumVecs vectors. Each step takes a quad of u8 activations, spread() to all
// lanes, and 2 * kVecWidth quads of s8 weights, one per column.
#pragma once

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {

inline constexpr int kQuad = 4;
inline constexpr int kDotColumns = 2 * kVecWidth;

inline int32_t load_quad(const void* p) {
  int32_t quad;
  __builtin_memcpy(&quad, p, sizeof(quad));
  return quad;
}

inline IVec load_int(const int32_t* p, int lanes) {
  return as_int(load_lanes(reinterpret_cast<const float*>(p), lanes));
}
inline void store_int(int32_t* p, IVec v, int lanes) { store_lanes(reinterpret_cast<float*>(p), as_float(v), lanes); }

#if defined(__AVX512F__)

inline constexpr int kSumVecs = 2;  // vectors that hold a row's sums

struct Weights {
  IVec vecs[kSumVecs];
};
inline Weights load_weights(const int8_t* w) {
  const auto* p = reinterpret_cast<const int32_t*>(w);
  return {{load_int(p, kVecWidth), load_int(p + kVecWidth, kVecWidth)}};
}
inline IVec spread(const uint8_t* a) { return splat_int(load_quad(a)); }
inline void add_products(IVec& sum, IVec a, IVec w) { asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w)); }
inline void store_row(int32_t* out, const IVec (&sums)[kSumVecs]) {
  store_int(out, sums[0], kVecWidth);
  store_int(out + kVecWidth, sums[1], kVecWidth);
}

#elif defined(__AVX2__)

inline constexpr int kSumVecs = 4;  // of four columns, two half sums each

struct Weights {
  IVec vecs[kSumVecs];
};
inline Weights load_weights(const int8_t* w) {
  Weights wide;
  LATHE_UNROLL
  for (int i = 0; i < kSumVecs; ++i) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w) + i);
    wide.vecs[i] = reinterpret_cast<IVec>(_mm256_cvtepi8_epi16(bytes));
  }
  return wide;
}
inline IVec spread(const uint8_t* a) {
  return reinterpret_cast<IVec>(_mm256_cvtepu8_epi16(_mm_set1_epi32(load_quad(a))));
}
inline void add_products(IVec& sum, IVec a, IVec w) {
  sum += reinterpret_cast<IVec>(_mm256_madd_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(w)));
}
inline void store_row(int32_t* out, const IVec (&sums)[kSumVecs]) {
  LATHE_UNROLL
  for (int i = 0; i < 2; ++i) {
    const __m256i pairs = _mm256_hadd_epi32(reinterpret_cast<__m256i>(sums[2 * i]),
                                            reinterpret_cast<__m256i>(sums[2 * i + 1]));  // columns 0 1 4 5 2 3 6 7
    store_int(out + i * kVecWidth, reinterpret_cast<IVec>(_mm256_permute4x64_epi64(pairs, 0xd8)), kVecWidth);
  }
}

#else

inline constexpr int kSumVecs = 2;

struct Weights {
  IVec vecs[kSumVecs];
};
inline Weights load_weights(const int8_t* w) {
  const auto* p = reinterpret_cast<const int32_t*>(w);
  return {{load_int(p, kVecWidth), load_int(p + kVecWidth, kVecWidth)}};
}
inline IVec spread(const uint8_t* a) { return splat_int(load_quad(a)); }
inline void add_products(IVec& sum, IVec a, IVec w) {
  const IVec byte = splat_int(0xff);
  sum += (a & byte) * shift_right<24>(shift_left<24>(w));
  sum += (shift_right<8>(a) & byte) * shift_right<24>(shift_left<16>(w));
  sum += (shift_right<16>(a) & byte) * shift_right<24>(shift_left<8>(w));
  sum += (shift_right<24>(a) & byte) * shift_right<24>(w);
}
inline void store_row(int32_t* out, const IVec (&sums)[kSumVecs]) {
  store_int(out, sums[0], kVecWidth);
  store_int(out + kVecWidth, sums[1], kVecWidth);
}

#endif

}  // namespace lathe::cpu::LATHE_ISA
