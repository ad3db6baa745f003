#include "backends/cpu/kernels/softmax.h"

namespace lathe::cpu {

void softmax(ThreadTeam& team, const SoftmaxKernels& kernels, const Softmax& softmax) {
  if (softmax.n <= 0) return;
  team.parallel_for(softmax.rows, [&](int64_t begin, int64_t end, int) { kernels.softmax(softmax, begin, end); });
}

}  // namespace lathe::cpu
