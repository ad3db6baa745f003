// What kernels for products whose k may be split among blocks do with a sum: keep it for matmul_finish.cu, or finish it.
#pragma once

#include "epilogue.cuh"
#include "matmul_args.h"

inline __device__ void put(const MatmulArgs& args, int row, i64 column, float sum) {
  if (args.splits > 1) {
    static_cast<float*>(args.partial)[(i64(blockIdx.y) * args.m + row) * args.n + column] = sum;
  } else {
    const float sums[1] = {sum};
    finish<1>(args.epilogue, args.output, 0, args.first_row + row, column, (args.first_row + row) * args.n + column,
              sums);
  }
}
