// Rounding of f32 to bf16 for the kernels that multiply in bf16: to nearest even, NaN stays NaN, subnormals become
// zero, as which those kernels would take them. Only for processors with AVX512-BF16, like these kernels.
#pragma once

#include "backends/cpu/kernels/vec.h"

#define LATHE_TARGET_BF16 __attribute__((target("avx512bf16")))

namespace lathe::cpu::LATHE_ISA {

// to[i] for i < n.
LATHE_TARGET_BF16 inline void round_to_bf16(const float* from, int64_t n, uint16_t* to) {
  int64_t i = 0;
  for (; i + 2 * kVecWidth <= n; i += 2 * kVecWidth) {
    const auto pair = _mm512_cvtne2ps_pbh(load(from + i + kVecWidth), load(from + i));
    _mm512_storeu_si512(to + i, reinterpret_cast<__m512i>(pair));
  }
  for (; i < n; i += kVecWidth) {
    const int lanes = n - i < kVecWidth ? static_cast<int>(n - i) : kVecWidth;
    const auto narrow = _mm512_cvtneps_pbh(load_n(from + i, lanes));
    _mm256_mask_storeu_epi16(to + i, first_lanes(lanes), reinterpret_cast<__m256i>(narrow));
  }
}

// Pairs of terms of kVecWidth columns: `even` and `odd` by turns.
LATHE_TARGET_BF16 inline Vec interleave_bf16(Vec even, Vec odd) {
  alignas(64) static constexpr uint16_t kByTurns[] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const auto halves = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, even));
  return reinterpret_cast<Vec>(_mm512_permutexvar_epi16(_mm512_load_si512(kByTurns), halves));
}

// GemmBf16Kernels::pack_panel.
LATHE_TARGET_BF16 inline void pack_bf16_panel(const float* b, int64_t stride_k, int64_t stride_n, int64_t k, int cols,
                                              uint16_t* panel) noexcept {
  constexpr int kPanel = 2 * kVecWidth;
  auto* out = reinterpret_cast<float*>(panel);  // [k / 2][columns] of pairs
  const auto columns_from = [cols](int j) { return cols - j < kVecWidth ? (cols > j ? cols - j : 0) : kVecWidth; };
  if (stride_k == 1 && stride_n != 1) {  // columns contiguous along k: pairs are transposed in registers
    for (int j = 0; j < kPanel; j += kVecWidth) {
      for (int64_t i = 0; i < k; i += kPanel) {
        const auto depth = static_cast<int>(k - i < kPanel ? k - i : kPanel);
        const int low = depth < kVecWidth ? depth : kVecWidth;
        Vec square[kVecWidth];
        LATHE_UNROLL
        for (int c = 0; c < kVecWidth; ++c) {
          const float* from = b + (j + c) * stride_n + i;
          square[c] =
              j + c < cols
                  ? reinterpret_cast<Vec>(_mm512_cvtne2ps_pbh(load_n(from + kVecWidth, depth - low), load_n(from, low)))
                  : zero();
        }
        transpose(square);
        for (int r = 0; r < (depth + 1) / 2; ++r) store(out + (i / 2 + r) * kPanel + j, square[r]);
      }
    }
    return;
  }
  alignas(64) float rows[2][kPanel] = {};
  for (int64_t i = 0; i < k; i += 2, out += kPanel) {
    for (int j = 0; j < kPanel; j += kVecWidth) {
      Vec pair[2] = {zero(), zero()};
      for (int half = 0; half < 2 && i + half < k; ++half) {
        const float* from = b + (i + half) * stride_k;
        if (stride_n != 1)
          for (int c = 0; c < columns_from(j); ++c) rows[half][j + c] = from[(j + c) * stride_n];
        pair[half] = stride_n == 1 ? load_n(from + j, columns_from(j)) : load(rows[half] + j);
      }
      store(out + j, interleave_bf16(pair[0], pair[1]));
    }
  }
}

}  // namespace lathe::cpu::LATHE_ISA
