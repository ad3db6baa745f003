// Embedding sum over a thread team, followed by a normalisation of the rows while they are in cache.
#pragma once

#include "backends/cpu/kernels/embedding_kernels.h"
#include "backends/cpu/kernels/norm_kernels.h"
#include "base/thread_team.h"

namespace lathe::cpu {

// False when an id is out of range; y is then unspecified. `norm` may be null; otherwise its x, ldx, rows and n are
// those of the sum, and only the rest of it is read (y may be the sum itself).
[[nodiscard]] bool embedding_sum(ThreadTeam& team, const EmbeddingKernels& kernels, const EmbeddingSum& sum,
                                 const NormKernels& norm_kernels, const Norm* norm);

}  // namespace lathe::cpu
