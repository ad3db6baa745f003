// Weights of a few bits in the type of activations, for products that read them often. A thread widens eight, which are
// of one block. Floor: the bytes read and written over the bandwidth.
#include "narrow_integers.cuh"
#include "widen_nbits_args.h"

constexpr int kEach = 8;

KERNEL(256, WidenNBitsArgs) {
  const i64 first = (i64(blockIdx.x) * blockDim.x + threadIdx.x) * kEach;
  if (first >= args.n * args.k) return;
  const i64 block = first / args.k * args.blocks + first % args.k / args.block;
  const float scale = to_register(static_cast<const SCALE*>(args.scales)[block]);
#if ZEROS
  const int zero = integer_of(bits_at(args.zeros, block));
#else
  const int zero = kMiddle;
#endif
  const auto bytes = load_pack<BITS>(static_cast<const u8*>(args.q) + first * BITS / 8);
  Pack<TYPE, kEach> wide;
#pragma unroll
  for (int i = 0; i < kEach; ++i)
    wide[i] = from_float<TYPE>(float(integer_of(bytes[i * BITS / 8] >> i * BITS % 8) - zero) * scale);
  store_pack<kEach>(static_cast<TYPE*>(args.wide) + first, wide);
}
