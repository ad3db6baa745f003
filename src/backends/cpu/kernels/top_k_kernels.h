// Scanning floats for those that beat a bound.
#pragma once

#include <cstdint>

namespace lathe::cpu {

// The first i in [begin, n) with x[i] above (below) the bound, else n. NaN is above every number.
struct TopKKernels {
  int64_t (*find_above)(const float* x, int64_t begin, int64_t n, float bound) noexcept;
  int64_t (*find_below)(const float* x, int64_t begin, int64_t n, float bound) noexcept;
};

}  // namespace lathe::cpu
