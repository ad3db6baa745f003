// Attention over a paged cache (graph/ops/paged_attention.h) on a thread team: new keys and values are stored, then
// every task carries some query rows of one sequence and one key/value head through a range of its keys. A row is one
// query head of one token; the heads of a group and neighbouring tokens share the reading of keys.
//
// What a sequence gets depends, bit for bit, on nothing but itself: rows are cut into tasks, and long contexts of few
// tokens into ranges of keys, by fixed sizes, whatever the number of threads and the rest of the step. Which thread
// takes a task is left to the run.
#pragma once

#include "backends/cpu/kernels/kernel_table.h"
#include "base/dtype.h"
#include "base/thread_team.h"
#include "graph/paged_cache.h"
#include "graph/paged_step.h"

namespace lathe::cpu {

struct PagedAttention {
  int64_t heads = 1, kv_heads = 1, head_dim = 0, value_dim = 0;
  float scale = 1, softcap = 0;
  int64_t window = 0;
  bool chunked = false;
  PagedStep step;
  // Element (token t, head h, feature d) is data[t * row + h * stride + d].
  struct Operand {
    const float* data = nullptr;
    int64_t row = 0, stride = 0;
  };
  Operand q, k, v;
  const float* slopes = nullptr;  // [heads], or null
  const float* biases = nullptr;  // [heads, distances], or null
  int64_t distances = 0;
  const float* sinks = nullptr;  // [heads], or null
  DType cache = DType::f32;      // or f16, bf16, i8, f8e4m3
  void *key_cache = nullptr, *value_cache = nullptr;
  const GemmBf16Kernels* unit = nullptr;  // as in Attention
  // Also how a sequence is cut into steps does not matter, bit for bit, which costs the speed of large chunks and of
  // few tokens behind long contexts.
  bool uniform = false;
  float* out = nullptr;  // [tokens, heads * value_dim]
};

// Of the step only the sizes matter: tokens, block_size, table_width and how many sequences there are.
size_t paged_attention_workspace_bytes(const KernelTable& kernels, const PagedAttention& attention, int threads);

// The step must have passed check().
void paged_attention(ThreadTeam& team, const KernelTable& kernels, const PagedAttention& attention, void* workspace);

}  // namespace lathe::cpu
