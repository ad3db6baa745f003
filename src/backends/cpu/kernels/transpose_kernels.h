// The transposition of one matrix in memory, for elements of 1, 2, 4 and 8 bytes.
#pragma once

#include <cstdint>

namespace lathe::cpu {

// to[r * ld_to + c] = from[c * ld_from + r] for r < rows, c < cols; leading dimensions count elements.
using TransposeKernel = void (*)(const void* from, int64_t ld_from, void* to, int64_t ld_to, int64_t rows,
                                 int64_t cols) noexcept;

struct TransposeKernels {
  TransposeKernel bytes1, bytes2, bytes4, bytes8;
};

}  // namespace lathe::cpu
