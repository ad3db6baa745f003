// What a thread of rotary position embedding computes: VECTOR turned pairs of a row, or 2 * VECTOR features behind the
// pairs as they are. ELEMENT is the type of x, COS and SIN those of the tables; RANK merged axes lead to a row;
// INTERLEAVED is 0 or 1.
#pragma once

#include "prelude.cuh"
#include "rotary_args.h"

// Features of a row: VECTOR from `low_at` on, and as many from `high_at` on.
struct Turned {
  i64 low_at, high_at;
  Pack<ELEMENT, VECTOR> low, high;
};

// Threads that share a row.
inline __device__ u64 rotary_threads(const RotaryArgs& args) {
  return (args.half + (args.width - 2 * args.half + 1) / 2) / VECTOR;
}

template <class Table>
inline __device__ void load_angles(float (&angles)[VECTOR], const void* table, i64 offset) {
  const auto pack = load_pack<VECTOR>(static_cast<const Table*>(table) + offset);
#pragma unroll
  for (int i = 0; i < VECTOR; ++i) angles[i] = to_register(pack[i]);
}

// What thread `thread` of a row has. The second half may lie beyond a row of odd width: then it is not read.
inline __device__ Turned turn(const RotaryArgs& args, u64 row, i64 thread) {
  using T = ELEMENT;
  const i64 pair = thread * VECTOR;
  const T* x = static_cast<const T*>(args.x) + row * args.width;
  Turned turned;
  if (pair >= args.half) {
    turned.low_at = 2 * pair;
    turned.high_at = 2 * pair + VECTOR;
    turned.low = load_pack<VECTOR>(x + turned.low_at);
    if (turned.high_at < args.width) turned.high = load_pack<VECTOR>(x + turned.high_at);
    return turned;
  }
  i64 cos_offset = pair, sin_offset = pair;
#pragma unroll
  for (int axis = RANK - 1; axis >= 0; --axis) {
    const i64 at = axis == 0 ? row : row % args.sizes[axis];
    row /= args.sizes[axis];
    cos_offset += at * args.cos_strides[axis];
    sin_offset += at * args.sin_strides[axis];
  }
  float cosines[VECTOR], sines[VECTOR];
  load_angles<COS>(cosines, args.cos, cos_offset);
  load_angles<SIN>(sines, args.sin, sin_offset);
  // Interleaved: a0 b0 a1 b1 ..; otherwise all a, then all b.
  turned.low_at = INTERLEAVED ? 2 * pair : pair;
  turned.high_at = INTERLEAVED ? turned.low_at + VECTOR : turned.low_at + args.half;
  const auto low = load_pack<VECTOR>(x + turned.low_at), high = load_pack<VECTOR>(x + turned.high_at);
  T in[2 * VECTOR], out[2 * VECTOR];
#pragma unroll
  for (int i = 0; i < VECTOR; ++i) {
    in[i] = low[i];
    in[VECTOR + i] = high[i];
  }
#pragma unroll
  for (int i = 0; i < VECTOR; ++i) {
    const int at_a = INTERLEAVED ? 2 * i : i, at_b = INTERLEAVED ? 2 * i + 1 : VECTOR + i;
    const float p = to_float(in[at_a]), q = to_float(in[at_b]);
    out[at_a] = from_float<T>(p * cosines[i] - q * sines[i]);
    out[at_b] = from_float<T>(q * cosines[i] + p * sines[i]);
  }
#pragma unroll
  for (int i = 0; i < VECTOR; ++i) {
    turned.low[i] = out[i];
    turned.high[i] = out[VECTOR + i];
  }
  return turned;
}

inline __device__ void store_turned(const RotaryArgs& args, u64 row, const Turned& turned) {
  ELEMENT* y = static_cast<ELEMENT*>(args.y) + row * args.width;
  store_pack<VECTOR>(y + turned.low_at, turned.low);
  if (turned.high_at < args.width) store_pack<VECTOR>(y + turned.high_at, turned.high);
}
