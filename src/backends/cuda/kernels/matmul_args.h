// The argument of the kernels for matrix products: y[b] = a[b] [m, k] * w[b] [k, n].
#pragma once

#include "epilogue_args.h"

struct MatmulArgs {
  const void* a;
  const void* b;
  void* output;
  void* partial;  // sums [splits, m, n], where k is split among blocks
  long long m, n, k;
  long long lda, ldb;  // elements between rows as they are stored
  long long batches;   // products, one after the other in the output
  long long a_batch, b_batch;
  long long first_row;  // of the output seen as rows x n, for extra operands
  long long k_per_split;
  int splits;
  int constant_b;  // 1: no kernel writes b
  EpilogueArgs epilogue;
};
