// What the kernels of grouped_matmul share: the rows of activations, and weights of one matrix as they are stored.
// Defined by the host: TYPE of the activations; NARROW; of wide weights WEIGHT, their type; of narrow ones BITS, SIGNED,
// SCALE, ZEROS (0: none, 1: integers like the weights, 2: of the scales' type), ORDER; EACH: terms that a thread takes at
// a time, which share a scale.
#pragma once

#include "grouped_matmul_args.h"
#if NARROW
#include "narrow_integers.cuh"
#else
#include "prelude.cuh"
#endif

using T = TYPE;

inline __device__ const T* row_of(const GroupedMatmulArgs& args, int row) {
  return static_cast<const T*>(args.a) + i64(args.shared ? row / args.choices : row) * args.k;
}

struct GroupWeights {
  const GroupedMatmulArgs& args;
  const void* const* parts;

  __device__ GroupWeights(const GroupedMatmulArgs& of, int group)
      : args(of), parts(of.parts + group * (NARROW ? kNarrowParts : 1)) {}

  // Terms k and up of the row `column`.
  __device__ void read(float (&w)[EACH], i64 column, i64 k) const {
    const i64 at = column * args.k + k;
#if NARROW
    const i64 block = column * args.blocks + u32(k) / u32(args.block);
    const float scale = to_float(static_cast<const SCALE*>(parts[1])[block]);
#if ZEROS == 0
    const float zero = kMiddle;
#elif ZEROS == 1
    const float zero = float(integer_of(bits_at(parts[2], block)));
#else
    const float zero = to_float(static_cast<const SCALE*>(parts[2])[block]);
#endif
#if EACH == 8
    const auto bytes = load_pack<BITS>(static_cast<const u8*>(parts[0]) + at * BITS / 8);
#pragma unroll
    for (int i = 0; i < EACH; ++i) w[i] = (float(integer_of(bytes[i * BITS / 8] >> i * BITS % 8)) - zero) * scale;
#else
    w[0] = (float(integer_of(bits_at(parts[0], at))) - zero) * scale;
#endif
#else
    const auto pack = load_pack<EACH>(static_cast<const WEIGHT*>(parts[0]) + at);
#pragma unroll
    for (int i = 0; i < EACH; ++i) w[i] = to_float(pack[i]);
#endif
  }

  // The terms of a row of activations that these meet.
  __device__ Pack<T, EACH> terms(const T* row, i64 k) const {
#if NARROW && ORDER
    Pack<T, EACH> pack;
#pragma unroll
    for (int i = 0; i < EACH; ++i) pack[i] = row[static_cast<const int*>(parts[3])[k + i]];
    return pack;
#else
    return load_pack<EACH>(row + k);
#endif
  }
};
