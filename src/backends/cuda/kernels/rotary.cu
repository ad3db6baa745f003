// Rotary position embedding. Floor: bytes of x and y over the bandwidth; the angles of a position stay in the caches.
#include "rotary.cuh"

KERNEL(256, RotaryArgs) {
  const u64 per_row = rotary_threads(args), thread = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  const u64 row = thread / per_row;
  if (row < u64(args.rows)) store_turned(args, row, turn(args, row, thread % per_row));
}
