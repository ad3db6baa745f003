#include "backends/cpu/kernels/embedding.h"

#include <algorithm>
#include <atomic>

namespace lathe::cpu {

bool embedding_sum(ThreadTeam& team, const EmbeddingKernels& kernels, const EmbeddingSum& sum,
                   const NormKernels& norm_kernels, const Norm* norm) {
  constexpr int64_t kRowsInCache = 8;
  if (sum.n <= 0) return true;
  Norm rows_norm = norm != nullptr ? *norm : Norm{};
  rows_norm.x = sum.y;
  rows_norm.ldx = sum.ldy;
  rows_norm.rows = sum.rows;
  rows_norm.n = sum.n;
  std::atomic<bool> in_range = true;
  team.parallel_for(sum.rows, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row += kRowsInCache) {
      const int64_t row_end = std::min(end, row + kRowsInCache);
      if (!kernels.gather_sum(sum, row, row_end)) {
        in_range.store(false, std::memory_order_relaxed);
        return;
      }
      if (norm != nullptr) norm_kernels.normalize(rows_norm, row, row_end);
    }
  });
  return in_range.load(std::memory_order_relaxed);
}

}  // namespace lathe::cpu
