// Vec for AVX-512 (F, BW, DQ, VL): 16 lanes and real mask registers. The vocabulary is described in vec.h.
#pragma once

// GCC 12 warns about the deliberately undefined registers inside its own intrinsics once they are inlined.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <cstdint>

#include "base/half.h"

namespace lathe::cpu::LATHE_ISA {

using Vec = __m512;
using IVec = int32_t __attribute__((vector_size(64)));
using Mask = __mmask16;
inline constexpr int kVecWidth = 16;

inline Mask first_lanes(int n) { return static_cast<Mask>((1u << n) - 1u); }
inline Mask both(Mask a, Mask b) { return static_cast<Mask>(a & b); }
inline Mask either(Mask a, Mask b) { return static_cast<Mask>(a | b); }
inline Mask invert(Mask a) { return static_cast<Mask>(~a); }
inline bool any(Mask a) { return a != 0; }

inline Vec zero() { return _mm512_setzero_ps(); }
inline Vec splat(float x) { return _mm512_set1_ps(x); }
inline IVec splat_int(int32_t x) { return reinterpret_cast<IVec>(_mm512_set1_epi32(x)); }
inline Vec load(const float* p) { return _mm512_loadu_ps(p); }
inline Vec load_n(const float* p, int n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
inline Vec widen(const Half*, __m256i bits) { return _mm512_cvtph_ps(bits); }
inline Vec widen(const BFloat16*, __m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline __m256i load_16_bits(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline Vec load(const Half* p) { return widen(p, load_16_bits(p)); }
inline Vec load(const BFloat16* p) { return widen(p, load_16_bits(p)); }
inline Vec load_n(const Half* p, int n) { return widen(p, _mm256_maskz_loadu_epi16(first_lanes(n), p)); }
inline Vec load_n(const BFloat16* p, int n) { return widen(p, _mm256_maskz_loadu_epi16(first_lanes(n), p)); }
inline void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
inline void store_n(float* p, Vec v, int n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }

inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
inline Vec fnma(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }
inline Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
inline Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
inline Vec abs(Vec a) { return _mm512_abs_ps(a); }
inline Vec sqrt(Vec a) { return _mm512_sqrt_ps(a); }
inline Vec copysign(Vec magnitude, Vec sign) {
  const __m512i sign_bit = _mm512_set1_epi32(INT32_MIN);  // 0xca below: where this bit is set take `sign`
  return _mm512_castsi512_ps(
      _mm512_ternarylogic_epi32(sign_bit, _mm512_castps_si512(sign), _mm512_castps_si512(magnitude), 0xca));
}
inline Vec round_even(Vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Vec floor(Vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
inline Vec ceil(Vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
inline Vec trunc(Vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }

inline Mask less(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
inline Mask less_equal(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
inline Mask equal(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
inline Mask is_nan(Vec a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
inline Vec select(Mask m, Vec yes, Vec no) { return _mm512_mask_blend_ps(m, no, yes); }

inline IVec to_int(Vec a) { return reinterpret_cast<IVec>(_mm512_cvtps_epi32(a)); }
inline Vec to_float(IVec a) { return _mm512_cvtepi32_ps(reinterpret_cast<__m512i>(a)); }
inline IVec as_int(Vec a) { return reinterpret_cast<IVec>(a); }
inline Vec as_float(IVec a) { return reinterpret_cast<Vec>(a); }
template <int n>
inline IVec shift_left(IVec a) {
  return reinterpret_cast<IVec>(_mm512_slli_epi32(reinterpret_cast<__m512i>(a), n));
}
template <int n>
inline IVec shift_right(IVec a) {
  return reinterpret_cast<IVec>(_mm512_srai_epi32(reinterpret_cast<__m512i>(a), n));
}
inline Vec scale_by_power_of_two(Vec x, Vec n) { return _mm512_scalef_ps(x, n); }

inline Vec zip_low(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
inline Vec zip_high(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

inline float sum_lanes(Vec a) { return _mm512_reduce_add_ps(a); }
inline float max_lanes(Vec a) { return _mm512_reduce_max_ps(a); }
inline float min_lanes(Vec a) { return _mm512_reduce_min_ps(a); }

}  // namespace lathe::cpu::LATHE_ISA
