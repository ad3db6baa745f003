// Scales and zeros of a block of a panel, as kernels of weights of a few bits read them.
#pragma once

#include "backends/cpu/kernels/bytes.h"
#include "backends/cpu/kernels/matmul_nbits_kernels.h"
#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {

inline constexpr int kNBitsVecs = 2, kNBitsPanel = kNBitsVecs * kVecWidth;

inline Vec load_parameter(const void* p, NBitsParameter type, int64_t i) {
  switch (type) {
    case NBitsParameter::f32: return load(static_cast<const float*>(p) + i);
    case NBitsParameter::f16: return load(static_cast<const Half*>(p) + i);
    case NBitsParameter::bf16: return load(static_cast<const BFloat16*>(p) + i);
    case NBitsParameter::u8: return load_bytes(static_cast<const uint8_t*>(p) + i, kVecWidth);
  }
  return zero();
}

struct Parameters {
  Vec scales[kNBitsVecs], zeros[kNBitsVecs];

  Parameters(const NBitsPanel& p, int64_t block) {
    LATHE_UNROLL
    for (int v = 0; v < kNBitsVecs; ++v) {
      const int64_t i = block * kNBitsPanel + v * kVecWidth;
      scales[v] = load_parameter(p.scales, p.scale_type, i);
      zeros[v] = p.zeros == nullptr ? splat(static_cast<float>(p.middle))
                                    : load_parameter(p.zeros, p.zero_type, i) + splat(p.zero_offset);
    }
  }
};

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Calls body(block, first term, terms) for each step.
template <class Body>
inline void for_each_step(const NBitsShape& s, Body body) {
  int64_t block = 0;
  for (int64_t begin = 0; begin < s.k; begin += s.block, ++block) {
    const int64_t end = least(begin + s.block, s.k);
    for (int64_t term = begin; term < end; term += s.step) body(block, term, least(s.step, end - term));
  }
}

}  // namespace lathe::cpu::LATHE_ISA
