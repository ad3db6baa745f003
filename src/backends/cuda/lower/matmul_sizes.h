// The sizes of a batched product, its batch axes folded as far as broadcasting allows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backends/backend.h"

namespace lathe::cuda {

// repeats() times `batches` products of [m, k] and [k, n]. Strides and offsets are in elements.
struct MatmulSizes {
  int64_t m = 0, n = 0, k = 0, lda = 0, ldb = 0;
  int64_t batches = 1, a_batch = 0, b_batch = 0;
  std::vector<int64_t> a_offsets = {0}, b_offsets = {0};  // of each repeat

  MatmulSizes(const StepIo& io, bool trans_a, bool trans_b);
  size_t repeats() const { return a_offsets.size(); }
  int64_t rows_per_repeat() const { return batches * m; }
};

}  // namespace lathe::cuda
