// Rounding of rows of f32 to bf16 for the kernels that multiply in bf16: to nearest even, exact for subnormals, NaN
// stays NaN. (The processor's own conversion flushes subnormals to zero.)
#pragma once

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {

// to[i] for i < n; AVX-512 only, like the kernels that use it.
inline void round_to_bf16(const float* from, int64_t n, uint16_t* to) {
  for_each_vec(0, n, [&](int64_t i, int lanes) {
    const Vec x = load_lanes(from + i, lanes);
    const IVec bits = as_int(x);
    // Carrying into the upper half rounds; what is cut off a NaN must not leave an infinity.
    const IVec rounded = bits + splat_int(0x7fff) + (shift_right<16>(bits) & splat_int(1));
    const Vec kept = select(is_nan(x), as_float(bits | splat_int(0x400000)), as_float(rounded));
    const __m512i upper = _mm512_srli_epi32(reinterpret_cast<__m512i>(kept), 16);
    _mm512_mask_cvtepi32_storeu_epi16(to + i, first_lanes(lanes), upper);
  });
}

}  // namespace lathe::cpu::LATHE_ISA
