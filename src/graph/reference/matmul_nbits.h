// The weights of matmul_nbits as numbers.
#pragma once

#include <span>

#include "graph/ops/matmul_nbits.h"
#include "graph/tensor.h"

namespace lathe {

struct NBitsWeights {
  const Tensor &q, &scales;
  const Tensor* zeros;  // null: the middle of q's type
  int64_t block;

  // Row `row` of q, widened to out [K].
  void read_row(int64_t row, std::span<double> out) const;
};

}  // namespace lathe
