// The two products of attention in bf16: queries, keys, weights and values are rounded, sums stay f32. What lies
// between the products is that of f32 (attention_kernels.h).
#pragma once

#include "backends/cpu/kernels/gemm_bf16_kernels.h"
#include "backends/cpu/kernels/gemm_kernels.h"

namespace lathe::cpu {

// The products of up to unit.max_rows query rows with a block of keys, which are packed once for all rows. Between
// begin() and end() of the unit.
class RoundedAttention {
 public:
  // Floats of memory for blocks of up to `keys` keys.
  static int64_t floats(const GemmBf16Kernels& unit, const GemmKernels& gemm, int64_t head_dim, int64_t keys);
  // Floats of keys as panels, and of values, whose columns are rounded up to panels.
  static int64_t key_floats(const GemmKernels& gemm, int64_t head_dim, int64_t keys);
  static int64_t value_floats(const GemmKernels& gemm, int64_t value_dim, int64_t keys);

  // `keys` is the size of a block, a multiple of the columns of a panel.
  RoundedAttention(const GemmBf16Kernels& unit, const GemmKernels& gemm, int64_t head_dim, int64_t value_dim,
                   int64_t keys, float* memory);

  // Element (key, d) at k[key * stride_s + d * stride_d].
  void pack_keys(const float* k, int64_t stride_s, int64_t stride_d, int64_t count, float* panels) const;
  void pack_values(const float* v, int64_t stride_s, int64_t stride_d, int64_t count, float* panels) const;

  // scores[r * ld + key] of the keys from first to last; others of the panels that these lie in are overwritten, too,
  // and so are rows up to unit.max_rows.
  void score(const float* q, int64_t ld_q, int rows, const float* panels, int64_t first, int64_t last, float* scores,
             int64_t ld) const;
  // out[r * ld_out + d] += the weights of the keys from first to last times their values. The key before an odd first
  // one gets the weight zero.
  void weigh(float* weights, int64_t ld, int rows, const float* panels, int64_t first, int64_t last, float* out,
             int64_t ld_out) const;

 private:
  const GemmBf16Kernels& unit_;
  const GemmKernels& gemm_;
  int64_t head_dim_, value_dim_, keys_;
  uint16_t* block_;
  float* sums_;
};

}  // namespace lathe::cpu
