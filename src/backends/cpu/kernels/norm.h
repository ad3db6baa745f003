// Normalisation of rows over a thread team; rows are dealt evenly. The contract is that of Norm.
#pragma once

#include "backends/cpu/kernels/norm_kernels.h"
#include "base/thread_team.h"

namespace lathe::cpu {

void normalize(ThreadTeam& team, const NormKernels& kernels, const Norm& norm);

}  // namespace lathe::cpu
