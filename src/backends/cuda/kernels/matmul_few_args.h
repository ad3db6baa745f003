// The argument of the kernel for products with few rows.
#pragma once

#include "matmul_args.h"

struct MatmulFewArgs {
  MatmulArgs product;     // b is the weights [n, k] as they are stored
  const void* scales;     // [n, blocks], of weights that are integers
  const void* zeros;      // [n, blocks], of the weights' type
  long long blocks;       // of terms that share a scale, in a row of weights
  int block_shift;        // a block is 2^block_shift steps of the kernel
  long long steps_ahead;  // of each row, that are brought to L2 before what is multiplied is there
  int next_may_start;     // 1: while this kernel is at work
};
