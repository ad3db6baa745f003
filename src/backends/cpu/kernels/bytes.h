// Bytes to vectors and back, and what quantisation is.
#pragma once

#include "backends/cpu/kernels/gemm_int8_kernels.h"
#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {

inline void store_bytes(uint8_t* p, IVec v, int lanes) {
#if defined(__AVX512F__)
  const __m128i bytes = _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(v));
  if (lanes == kVecWidth) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
  } else {
    _mm_mask_storeu_epi8(p, first_lanes(lanes), bytes);
  }
#else
  for (int i = 0; i < lanes; ++i) p[i] = static_cast<uint8_t>(v[i]);
#endif
}

template <class Byte>
inline Vec load_bytes(const Byte* p, int lanes) {
#if defined(__AVX512F__)
  const __m128i bytes = _mm_maskz_loadu_epi8(first_lanes(lanes), p);
  return _mm512_cvtepi32_ps(static_cast<Byte>(-1) < 0 ? _mm512_cvtepi8_epi32(bytes) : _mm512_cvtepu8_epi32(bytes));
#else
  IVec v = splat_int(0);
  for (int i = 0; i < lanes; ++i) v[i] = p[i];
  return to_float(v);
#endif
}

// Int8Requantize as vectors. The limits are clamped to before rounding, which comes to the same as they are whole, and
// keeps what is out of range from overflowing. NaN gives the lower limit.
struct Requantizer {
  Vec scale, inverse, low, high, zero;
  IVec whole_zero;

  explicit Requantizer(const Int8Requantize& q)
      : scale(splat(q.scale)),
        inverse(splat(1.0f / q.scale)),
        low(splat(q.low - q.zero)),
        high(splat(q.high - q.zero)),
        zero(splat(q.zero)),
        whole_zero(to_int(zero)) {}

  // From x / scale.
  IVec to_bytes(Vec scaled) const { return to_int(min(max(scaled, low), high)) + whole_zero; }
  // q - zero for x.
  Vec rounded(Vec x) const { return round_even(min(max(x * inverse, low), high)); }
};

}  // namespace lathe::cpu::LATHE_ISA
