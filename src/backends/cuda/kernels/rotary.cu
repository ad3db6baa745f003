// Rotary position embedding. A thread turns VECTOR pairs, or copies 2 * VECTOR features behind the pairs. Floor: bytes
// of x and y over the bandwidth; the angles of a position stay in the caches. ELEMENT is the type of x, COS and SIN
// those of the tables; RANK merged axes lead to a row; INTERLEAVED is 0 or 1.
#include "prelude.cuh"
#include "rotary_args.h"

using T = ELEMENT;

template <class Table>
inline __device__ void load_angles(float (&angles)[VECTOR], const void* table, i64 offset) {
  const auto pack = load_pack<VECTOR>(static_cast<const Table*>(table) + offset);
#pragma unroll
  for (int i = 0; i < VECTOR; ++i) angles[i] = to_register(pack[i]);
}

KERNEL(256, RotaryArgs) {
  const u64 per_row = (args.half + (args.width - 2 * args.half + 1) / 2) / VECTOR;  // threads
  const u64 thread = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  u64 row = thread / per_row;
  if (row >= u64(args.rows)) return;
  const i64 pair = i64(thread % per_row) * VECTOR, first = row * args.width;
  const T* x = static_cast<const T*>(args.x) + first;
  T* y = static_cast<T*>(args.y) + first;
  if (pair >= args.half) {
#pragma unroll
    for (int i = 0; i < 2 * VECTOR; i += VECTOR)
      if (2 * pair + i < args.width) store_pack<VECTOR>(y + 2 * pair + i, load_pack<VECTOR>(x + 2 * pair + i));
    return;
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
  const i64 a = INTERLEAVED ? 2 * pair : pair, b = INTERLEAVED ? a + VECTOR : a + args.half;
  const Pack<T, VECTOR> low = load_pack<VECTOR>(x + a), high = load_pack<VECTOR>(x + b);
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
  Pack<T, VECTOR> new_low, new_high;
#pragma unroll
  for (int i = 0; i < VECTOR; ++i) {
    new_low[i] = out[i];
    new_high[i] = out[VECTOR + i];
  }
  store_pack<VECTOR>(y + a, new_low);
  store_pack<VECTOR>(y + b, new_high);
}
