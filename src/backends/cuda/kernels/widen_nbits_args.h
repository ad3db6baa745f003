// The argument of the kernel that widens weights of a few bits.
#pragma once

struct WidenNBitsArgs {
  const void* q;       // [n, k]
  const void* scales;  // [n, blocks]
  const void* zeros;   // the same, of q's type
  void* wide;
  long long n, k, block, blocks;
};
