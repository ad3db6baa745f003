// Vec for AVX2 with FMA: 8 lanes, masks are vectors of all-ones or all-zeros lanes. The vocabulary is described in
// vec.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "base/half.h"

namespace lathe::cpu::LATHE_ISA {

using Vec = __m256;
using IVec = int32_t __attribute__((vector_size(32)));
struct Mask {
  __m256 lanes;
};
inline constexpr int kVecWidth = 8;

inline Mask first_lanes(int n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane))};
}
inline Mask both(Mask a, Mask b) { return {_mm256_and_ps(a.lanes, b.lanes)}; }
inline Mask either(Mask a, Mask b) { return {_mm256_or_ps(a.lanes, b.lanes)}; }
inline Mask invert(Mask a) { return {_mm256_xor_ps(a.lanes, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))}; }
inline bool any(Mask a) { return _mm256_movemask_ps(a.lanes) != 0; }

inline Vec zero() { return _mm256_setzero_ps(); }
inline Vec splat(float x) { return _mm256_set1_ps(x); }
inline IVec splat_int(int32_t x) { return reinterpret_cast<IVec>(_mm256_set1_epi32(x)); }
inline Vec load(const float* p) { return _mm256_loadu_ps(p); }
inline Vec load_n(const float* p, int n) { return _mm256_maskload_ps(p, _mm256_castps_si256(first_lanes(n).lanes)); }
inline Vec widen(const Half*, __m128i bits) { return _mm256_cvtph_ps(bits); }
inline Vec widen(const BFloat16*, __m128i bits) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
template <class T>
inline Vec load_16_bits(const T* p) {
  return widen(p, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
template <class T>
inline Vec load_16_bits(const T* p, int n) {
  alignas(16) uint16_t bits[kVecWidth] = {};
  for (int i = 0; i < n; ++i) bits[i] = p[i].bits;
  return widen(p, _mm_load_si128(reinterpret_cast<const __m128i*>(bits)));
}
inline Vec load(const Half* p) { return load_16_bits(p); }
inline Vec load(const BFloat16* p) { return load_16_bits(p); }
inline Vec load_n(const Half* p, int n) { return load_16_bits(p, n); }
inline Vec load_n(const BFloat16* p, int n) { return load_16_bits(p, n); }
inline void store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
inline void store_n(float* p, Vec v, int n) { _mm256_maskstore_ps(p, _mm256_castps_si256(first_lanes(n).lanes), v); }

inline Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec fnma(Vec a, Vec b, Vec c) { return _mm256_fnmadd_ps(a, b, c); }
inline Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
inline Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
inline Vec abs(Vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
inline Vec sqrt(Vec a) { return _mm256_sqrt_ps(a); }
inline Vec copysign(Vec magnitude, Vec sign) {
  const Vec sign_bit = _mm256_set1_ps(-0.0f);
  return _mm256_or_ps(_mm256_andnot_ps(sign_bit, magnitude), _mm256_and_ps(sign_bit, sign));
}
inline Vec round_even(Vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Vec floor(Vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
inline Vec ceil(Vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
inline Vec trunc(Vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }

inline Mask less(Vec a, Vec b) { return {_mm256_cmp_ps(a, b, _CMP_LT_OQ)}; }
inline Mask less_equal(Vec a, Vec b) { return {_mm256_cmp_ps(a, b, _CMP_LE_OQ)}; }
inline Mask equal(Vec a, Vec b) { return {_mm256_cmp_ps(a, b, _CMP_EQ_OQ)}; }
inline Mask is_nan(Vec a) { return {_mm256_cmp_ps(a, a, _CMP_UNORD_Q)}; }
inline Vec select(Mask m, Vec yes, Vec no) { return _mm256_blendv_ps(no, yes, m.lanes); }

inline IVec to_int(Vec a) { return reinterpret_cast<IVec>(_mm256_cvtps_epi32(a)); }
inline Vec to_float(IVec a) { return _mm256_cvtepi32_ps(reinterpret_cast<__m256i>(a)); }
inline IVec as_int(Vec a) { return reinterpret_cast<IVec>(a); }
inline Vec as_float(IVec a) { return reinterpret_cast<Vec>(a); }
template <int n>
inline IVec shift_left(IVec a) {
  return reinterpret_cast<IVec>(_mm256_slli_epi32(reinterpret_cast<__m256i>(a), n));
}
template <int n>
inline IVec shift_right(IVec a) {
  return reinterpret_cast<IVec>(_mm256_srai_epi32(reinterpret_cast<__m256i>(a), n));
}
// Two factors, because 2^n alone may not be a float when x * 2^n is.
inline Vec scale_by_power_of_two(Vec x, Vec n) {
  const IVec whole = to_int(n);
  const IVec half = shift_right<1>(whole);
  const IVec bias = splat_int(127);
  return x * as_float(shift_left<23>(half + bias)) * as_float(shift_left<23>(whole - half + bias));
}

inline Vec zip_low(Vec a, Vec b) { return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
inline Vec zip_high(Vec a, Vec b) { return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }

inline float sum_lanes(Vec a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline float max_lanes(Vec a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
inline float min_lanes(Vec a) {
  __m128 s = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_min_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_min_ss(s, _mm_movehdup_ps(s)));
}

}  // namespace lathe::cpu::LATHE_ISA
