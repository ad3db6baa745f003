// Matrix products with few columns and long sums, such as the last layer of a classifier: dot products along k, where
// panels of columns would be mostly padding. Measured on 2 cores (Zen 5), 4096 x 1024 times 1 to 8 columns runs four
// times as fast as with panels of 32.
#pragma once

#include "backends/cpu/kernels/gemm.h"
#include "backends/cpu/kernels/kernel_table.h"

namespace lathe::cpu {

// Beyond this many columns, or for shorter sums, gemm() is as fast.
inline constexpr int64_t kNarrowColumns = 16, kNarrowDepth = 128;

// As gemm(), with n <= kNarrowColumns and B packed into panels of one column.
void gemm_narrow(ThreadTeam& team, const KernelTable& kernels, const Gemm& gemm);

}  // namespace lathe::cpu
