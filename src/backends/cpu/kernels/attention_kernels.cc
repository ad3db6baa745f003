#include "backends/cpu/kernels/attention_kernels.h"

#include "backends/cpu/kernels/vec_math.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

constexpr float kMinusInfinity = -__builtin_inff();

inline Vec load_mask(const float* mask, int64_t stride, int lanes) {
  if (stride == 1) return load_lanes(mask, lanes);
  if (stride == 0) return splat(*mask);
  float values[kVecWidth] = {};
  for (int i = 0; i < lanes; ++i) values[i] = mask[i * stride];
  return load(values);
}

void scale(const ScoreBlock& block) noexcept {
  const bool capped = block.softcap != 0.0f;
  const Vec factor = splat(capped ? block.scale / block.softcap : block.scale);
  for (int r = 0; r < block.rows; ++r) {
    float* row = block.scores + r * block.ld;
    const float* mask = block.mask == nullptr ? nullptr : block.mask + r * block.mask_stride_row;
    const int64_t end = block.end[r];
    for_each_vec(block.begin[r], end, [&](int64_t i, int lanes) {
      Vec v = load_lanes(row + i, lanes) * factor;
      if (capped) v = splat(block.softcap) * tanh(v);
      if (mask != nullptr) v = v + load_mask(mask + i * block.mask_stride_key, block.mask_stride_key, lanes);
      store_lanes(row + i, v, lanes);
    });
  }
}

float row_maximum(const float* row, int64_t begin, int64_t end, float start) {
  Vec highest = splat(start);
  for_each_vec(begin, end, [&](int64_t i, int lanes) {
    highest = max(select(first_lanes(lanes), load_lanes(row + i, lanes), highest), highest);
  });
  return max_lanes(highest);
}

void fill_zero(float* row, int64_t begin, int64_t end) {
  for_each_vec(begin, end, [&](int64_t i, int lanes) { store_lanes(row + i, zero(), lanes); });
}

// exp(score - shift) over the visible range; returns the sum.
float exp_row(float* row, int64_t begin, int64_t end, float shift) {
  Vec sum = zero();
  for_each_vec(begin, end, [&](int64_t i, int lanes) {
    const Vec e = select(first_lanes(lanes), exp(load_lanes(row + i, lanes) - splat(shift)), zero());
    sum = sum + e;
    store_lanes(row + i, e, lanes);
  });
  return sum_lanes(sum);
}

void scale_row(float* row, int64_t n, float factor) {
  for_each_vec(0, n,
               [&](int64_t i, int lanes) { store_lanes(row + i, load_lanes(row + i, lanes) * splat(factor), lanes); });
}

void exponentiate(const ScoreBlock& block) noexcept {
  for (int r = 0; r < block.rows; ++r) {
    float* row = block.scores + r * block.ld;
    // An empty range may lie outside the block.
    const bool empty = block.begin[r] >= block.end[r];
    const int64_t begin = empty ? block.last : block.begin[r], end = empty ? block.last : block.end[r];
    fill_zero(row, block.first, begin);
    fill_zero(row, end, block.last);
    const float before = block.row_max[r];
    const float highest = row_maximum(row, begin, end, before);
    // exp(-infinity - 0) is the 0 that exp(-infinity - (-infinity)) would not be.
    const float shift = highest == kMinusInfinity ? 0.0f : highest;
    if (before != kMinusInfinity && before != highest) {
      const float correction = __builtin_expf(before - highest);
      block.row_sum[r] *= correction;
      scale_row(block.accumulator + r * block.ld_accumulator, block.v_dim, correction);
    }
    block.row_max[r] = highest;
    block.row_sum[r] += exp_row(row, begin, end, shift);
  }
}

void divide(const ScoreBlock& block, bool zero_masked, float* out, int64_t ld_out) noexcept {
  for (int r = 0; r < block.rows; ++r) {
    const float sum = block.row_sum[r];
    const Vec factor = splat(zero_masked && sum == 0.0f ? 0.0f : 1.0f / sum);
    const float* row = block.accumulator + r * block.ld_accumulator;
    for_each_vec(0, block.v_dim, [&](int64_t i, int lanes) {
      store_lanes(out + r * ld_out + i, load_lanes(row + i, lanes) * factor, lanes);
    });
  }
}

void dots(const float* q, int64_t ld_q, int rows, const float* k, int64_t stride_k, int64_t keys, int64_t depth,
          float* scores, int64_t ld) noexcept {
  for (int64_t j = 0; j < keys; ++j) {
    const float* key = k + j * stride_k;
    for (int r = 0; r < rows; ++r) {
      const float* query = q + r * ld_q;
      Vec even = zero(), odd = zero();
      int64_t i = 0;
      for (; i + 2 * kVecWidth <= depth; i += 2 * kVecWidth) {
        even = fma(load(query + i), load(key + i), even);
        odd = fma(load(query + i + kVecWidth), load(key + i + kVecWidth), odd);
      }
      for_each_vec(i, depth, [&](int64_t d, int lanes) {
        even = fma(load_lanes(query + d, lanes), load_lanes(key + d, lanes), even);
      });
      scores[r * ld + j] = sum_lanes(even + odd);
    }
  }
}

constexpr AttentionKernels kKernels = {scale, exponentiate, divide, dots};

}  // namespace

const AttentionKernels& attention() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
