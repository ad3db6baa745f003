// Softmax over a thread team; rows are dealt evenly. The contract is that of Softmax.
#pragma once

#include "backends/cpu/kernels/softmax_kernels.h"
#include "base/thread_team.h"

namespace lathe::cpu {

void softmax(ThreadTeam& team, const SoftmaxKernels& kernels, const Softmax& softmax);

}  // namespace lathe::cpu
