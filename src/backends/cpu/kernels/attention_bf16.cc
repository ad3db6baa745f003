#include "backends/cpu/kernels/attention_bf16.h"

#include <algorithm>

#include "backends/cpu/kernels/gemm_split.h"

namespace lathe::cpu {
namespace {

constexpr int64_t kAlign = 16;  // floats

// A panel holds pairs of terms, each as many bits as a float.
int64_t panel_floats(const GemmKernels& gemm, int64_t terms) { return ceil_div(terms, 2) * gemm.nr; }

int64_t block_floats(const GemmBf16Kernels& unit, int64_t terms) {
  return ceil_div(unit.block_elements(terms), 2 * kAlign) * kAlign;
}

uint16_t* as_bf16(float* panel) { return reinterpret_cast<uint16_t*>(panel); }

}  // namespace

int64_t RoundedAttention::floats(const GemmBf16Kernels& unit, const GemmKernels& gemm, int64_t head_dim, int64_t keys) {
  return block_floats(unit, std::max(head_dim, keys)) + static_cast<int64_t>(unit.max_rows) * gemm.nr;
}

int64_t RoundedAttention::key_floats(const GemmKernels& gemm, int64_t head_dim, int64_t keys) {
  return keys / gemm.nr * panel_floats(gemm, head_dim);
}

int64_t RoundedAttention::value_floats(const GemmKernels& gemm, int64_t value_dim, int64_t keys) {
  return ceil_div(value_dim, gemm.nr) * panel_floats(gemm, keys);
}

RoundedAttention::RoundedAttention(const GemmBf16Kernels& unit, const GemmKernels& gemm, int64_t head_dim,
                                   int64_t value_dim, int64_t keys, float* memory)
    : unit_(unit),
      gemm_(gemm),
      head_dim_(head_dim),
      value_dim_(value_dim),
      keys_(keys),
      block_(as_bf16(memory)),
      sums_(memory + block_floats(unit, std::max(head_dim, keys))) {}

void RoundedAttention::pack_keys(const float* k, int64_t stride_s, int64_t stride_d, int64_t count,
                                 float* panels) const {
  for (int64_t key = 0; key < count; key += gemm_.nr, panels += panel_floats(gemm_, head_dim_)) {
    const int cols = static_cast<int>(std::min<int64_t>(gemm_.nr, count - key));
    unit_.pack_panel(k + key * stride_s, stride_d, stride_s, head_dim_, cols, as_bf16(panels));
  }
}

void RoundedAttention::pack_values(const float* v, int64_t stride_s, int64_t stride_d, int64_t count,
                                   float* panels) const {
  for (int64_t d = 0; d < value_dim_; d += gemm_.nr, panels += panel_floats(gemm_, keys_)) {
    const int cols = static_cast<int>(std::min<int64_t>(gemm_.nr, value_dim_ - d));
    unit_.pack_panel(v + d * stride_d, stride_s, stride_d, count, cols, as_bf16(panels));
  }
}

void RoundedAttention::score(const float* q, int64_t ld_q, int rows, const float* panels, int64_t first, int64_t last,
                             float* scores, int64_t ld) const {
  unit_.round(q, ld_q, rows, head_dim_, block_);
  const int64_t nr = gemm_.nr;
  for (int64_t key = first / nr * nr; key < last; key += nr)
    unit_.tile({block_, panels + key / nr * panel_floats(gemm_, head_dim_), head_dim_, scores + key, ld, rows});
}

void RoundedAttention::weigh(float* weights, int64_t ld, int rows, const float* panels, int64_t first, int64_t last,
                             float* out, int64_t ld_out) const {
  if (first % 2 != 0) {
    --first;
    for (int r = 0; r < rows; ++r) weights[r * ld + first] = 0;
  }
  const int64_t terms = last - first, nr = gemm_.nr;
  unit_.round(weights + first, ld, rows, terms, block_);
  panels += first / 2 * nr;
  for (int64_t d = 0; d < value_dim_; d += nr, panels += panel_floats(gemm_, keys_)) {
    unit_.tile({block_, panels, terms, sums_, nr, rows});
    const int cols = static_cast<int>(std::min(nr, value_dim_ - d));
    gemm_.finish({sums_, nr, rows, cols, 1, nullptr, out + d, ld_out, true, {}, out + d, ld_out});
  }
}

}  // namespace lathe::cpu
