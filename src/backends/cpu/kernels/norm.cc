#include "backends/cpu/kernels/norm.h"

namespace lathe::cpu {

void normalize(ThreadTeam& team, const NormKernels& kernels, const Norm& norm) {
  if (norm.n <= 0) return;
  team.parallel_for(norm.rows, [&](int64_t begin, int64_t end, int) { kernels.normalize(norm, begin, end); });
}

}  // namespace lathe::cpu
