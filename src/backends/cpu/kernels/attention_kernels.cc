#include "backends/cpu/kernels/attention_kernels.h"

#include "backends/cpu/kernels/vec_math.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

constexpr float kMinusInfinity = -__builtin_inff();

inline int lanes_at(int64_t i, int64_t n) { return n - i < kVecWidth ? static_cast<int>(n - i) : kVecWidth; }

inline Vec load_mask(const float* mask, int64_t stride, int lanes) {
  if (stride == 1) return load_n(mask, lanes);
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
    for (int64_t i = block.begin[r]; i < end; i += kVecWidth) {
      const int lanes = lanes_at(i, end);
      Vec v = load_n(row + i, lanes) * factor;
      if (capped) v = splat(block.softcap) * tanh(v);
      if (mask != nullptr) v = v + load_mask(mask + i * block.mask_stride_key, block.mask_stride_key, lanes);
      store_n(row + i, v, lanes);
    }
  }
}

float row_maximum(const float* row, int64_t begin, int64_t end, float start) {
  Vec highest = splat(start);
  for (int64_t i = begin; i < end; i += kVecWidth) {
    const int lanes = lanes_at(i, end);
    highest = max(select(first_lanes(lanes), load_n(row + i, lanes), highest), highest);
  }
  return max_lanes(highest);
}

void fill_zero(float* row, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i += kVecWidth) store_n(row + i, zero(), lanes_at(i, end));
}

// exp(score - shift) over the visible range; returns the sum.
float exp_row(float* row, int64_t begin, int64_t end, float shift) {
  Vec sum = zero();
  for (int64_t i = begin; i < end; i += kVecWidth) {
    const int lanes = lanes_at(i, end);
    const Vec e = select(first_lanes(lanes), exp(load_n(row + i, lanes) - splat(shift)), zero());
    sum = sum + e;
    store_n(row + i, e, lanes);
  }
  return sum_lanes(sum);
}

void scale_row(float* row, int64_t n, float factor) {
  for (int64_t i = 0; i < n; i += kVecWidth) {
    const int lanes = lanes_at(i, n);
    store_n(row + i, load_n(row + i, lanes) * splat(factor), lanes);
  }
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
    for (int64_t i = 0; i < block.v_dim; i += kVecWidth) {
      const int lanes = lanes_at(i, block.v_dim);
      store_n(out + r * ld_out + i, load_n(row + i, lanes) * factor, lanes);
    }
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
      for (; i < depth; i += kVecWidth) {
        const int lanes = lanes_at(i, depth);
        even = fma(load_n(query + i, lanes), load_n(key + i, lanes), even);
      }
      scores[r * ld + j] = sum_lanes(even + odd);
    }
  }
}

constexpr AttentionKernels kKernels = {scale, exponentiate, divide, dots};

}  // namespace

const AttentionKernels& attention() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
