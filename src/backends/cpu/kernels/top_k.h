// The k largest or smallest elements along an axis.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/kernels/kernel_table.h"
#include "base/dtype.h"
#include "base/thread_team.h"

namespace lathe::cpu {

// x is [outer, size, inner]; values and indices are [outer, k, inner], best first, ties by lower index. NaN is above
// every number. k <= size < 2^32.
struct TopK {
  int64_t outer, size, inner, k;
  bool largest;
  DType type;
  const void* x;
  void* values;
  int64_t* indices;
};

// f64, f32 and the integers of whole bytes.
bool can_select(DType type);

size_t top_k_workspace_bytes(const TopK& shape, int threads);  // pointers are not read
void top_k(ThreadTeam& team, const KernelTable& kernels, const TopK& top_k, std::byte* workspace);

}  // namespace lathe::cpu
