// The single-threaded parts of attention that are not matrix products: from a block of scores to weights, with the
// state that lets the keys of a row come in several blocks. attention.h has the driver.
#pragma once

#include <cstdint>

namespace lathe::cpu {

// A block of scores q.k: `rows` rows of which row r may see keys [begin[r], end[r]); only keys [first, last), the union
// of these ranges, are touched. All key numbers count from the start of the block.
struct ScoreBlock {
  float* scores;
  int64_t ld;
  int rows;
  int64_t first, last;
  const int64_t* begin;
  const int64_t* end;
  float scale;
  float softcap;      // 0: none
  const float* mask;  // of row 0 and key 0 of the block; null: none
  int64_t mask_stride_row, mask_stride_key;
  // Per row: the largest score so far, the sum of exp(score - largest), and the weighted sum of the values.
  float* row_max;
  float* row_sum;
  float* accumulator;
  int64_t ld_accumulator;
  int64_t v_dim;
};

struct AttentionKernels {
  // score = softcap * tanh(scale * score / softcap) + mask, where visible
  void (*scale)(const ScoreBlock& block) noexcept;
  // score = exp(score - row_max) where visible and 0 elsewhere in [first, last), after raising row_max to what the
  // block holds and scaling row_sum and the accumulator down accordingly. Rows of -infinity give zeros, NaN comes
  // through.
  void (*exponentiate)(const ScoreBlock& block) noexcept;
  // out = accumulator / row_sum. Rows without any visible key have the sum 0: NaN, or 0 with zero_masked.
  void (*divide)(const ScoreBlock& block, bool zero_masked, float* out, int64_t ld_out) noexcept;
  // scores[r][j] = dot(q + r*ld_q, k + j*stride_k) over `depth` elements: for a few rows, where packing k does not pay.
  void (*dots)(const float* q, int64_t ld_q, int rows, const float* k, int64_t stride_k, int64_t keys, int64_t depth,
               float* scores, int64_t ld) noexcept;
};

}  // namespace lathe::cpu
