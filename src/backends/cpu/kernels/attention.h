// softmax(scale * Q Kᵀ + mask) V over a thread team, without ever holding the whole matrix of scores: rows of queries
// are taken a tile at a time, keys in blocks with a running maximum and sum. Memory grows with neither length squared,
// and no row is padded.
//
// Operands lie where they are: element (b, s, h, d) is data[b*stride_b + s*stride_s + h*stride_h + d*stride_d], so Q, K
// and V may be slices of one product, and K may be stored transposed. Keys and values are packed a block at a time when
// enough query rows share them.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/attention_kernels.h"
#include "backends/cpu/kernels/gemm_bf16_kernels.h"
#include "backends/cpu/kernels/gemm_kernels.h"
#include "base/thread_team.h"

namespace lathe::cpu {

struct AttentionOperand {
  const float* data = nullptr;
  int64_t stride_b = 0, stride_s = 0, stride_h = 0, stride_d = 1;
};

// Added to the scores of (b, h, q, k); a stride of 0 broadcasts. In packed form q and k count over all sequences.
struct AttentionMask {
  const float* data = nullptr;
  int64_t stride_b = 0, stride_h = 0, stride_q = 0, stride_k = 0;
};

// Scores after scale, softcap and mask: scores[r*ld + j] belongs to query `query + r`, key `key + j` of its sequence
// or, in packed form, of all. Entries of keys that the query cannot see hold garbage.
struct ScoreRegion {
  float* scores;
  int64_t ld;
  int64_t rows, keys;
  int64_t batch, head, query, key;
};

inline constexpr int64_t kUnlimited = INT64_MAX;

struct Attention {
  int64_t batch = 1;
  int64_t heads = 1, kv_heads = 1;  // query head h uses key/value head h / (heads / kv_heads)
  int64_t q_len = 0, kv_len = 0;    // of every sequence, or the largest where lengths are given below
  int64_t head_dim = 0, v_dim = 0;
  AttentionOperand q, k, v;
  float* out = nullptr;  // element (b, s, h, d) at out[b*out_stride_b + s*out_stride_s + h*out_stride_h + d]
  int64_t out_stride_b = 0, out_stride_s = 0, out_stride_h = 0;

  float scale = 1.0f;
  float softcap = 0.0f;  // c > 0: c * tanh(score / c)
  // Query i sees keys i + offset - left ... i + offset + right. Causal is right = 0, a sliding window limits left too.
  // align_ends adds (key length - query length) of the sequence to offset: the last query sees the last key.
  int64_t left = kUnlimited, right = kUnlimited, offset = 0;
  bool align_ends = false;
  AttentionMask mask;
  // Called for each block of scores, with rows that are consecutive queries; may change the visible scores.
  void (*score_map)(void* context, const ScoreRegion& region) noexcept = nullptr;
  void* score_context = nullptr;
  bool zero_masked_rows = false;          // rows that see no key: 0 instead of NaN
  const GemmBf16Kernels* unit = nullptr;  // rounds operands and weights to bf16 where many rows share keys; null: never

  const int32_t* kv_lens = nullptr;  // [batch], each at most kv_len: keys beyond are padding
  // Packed form, [batch + 1] each: sequence b is rows offsets[b] .. offsets[b+1] of its operand; stride_b and
  // out_stride_b are not used. q_offsets applies to q and out, k_offsets to k and v; one may be given without the
  // other.
  const int32_t* q_offsets = nullptr;
  const int32_t* k_offsets = nullptr;
  bool fills_up = false;  // there: the last sequence is short or empty, and comes along with the one before
};

int64_t attention_workspace_floats(const GemmKernels& gemm, const Attention& attention, int threads);

void attention(ThreadTeam& team, const GemmKernels& gemm, const AttentionKernels& kernels, const Attention& attention,
               float* workspace);

}  // namespace lathe::cpu
