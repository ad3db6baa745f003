// The argument of the kernel for products of one row, with up to three matrices of weights at once.
#pragma once

#include "epilogue_args.h"

constexpr int kRowMaxParts = 3;

// A matrix of weights and the product that it gives.
struct MatmulRowPart {
  const void *b, *scales, *zeros;  // weights [n, k] as they are stored; [n, blocks] of integers
  void* output;                    // null where nobody wants it
  long long n;
  EpilogueArgs epilogue;
};

struct MatmulRowArgs {
  const void* a;
  long long k;
  long long blocks;  // of terms that share a scale, in a row of weights
  int block_shift;   // a block is 2^block_shift steps of the kernel
  int parts;
  MatmulRowPart part[kRowMaxParts];
  // Of a kernel that normalises the row: null where there is none, or nobody wants the normalised row.
  const void *norm_scale, *norm_bias;
  void* normalised;
  float epsilon;
};
