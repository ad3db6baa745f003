// Transposes planes of few rows: the channels of an image, which go from planes of their own to the innermost axis. A
// thread reads a pack of VECTOR columns from each of the ROWS rows, and writes what they make of y: as many packs, one
// after the other. Floor: the bytes read and written over the bandwidth.
// TYPE: an integer of the element's size.
#include "movement.cuh"

KERNEL(kMoveThreads, TransposeArgs) {
  u32 rest = blockIdx.x * kMoveThreads + threadIdx.x;
  if (rest >= args.tiles) return;
  const i64 column = i64(split(rest, args.column_tiles)) * VECTOR;
  i64 x_offset = column, y_offset = column * ROWS;
  for (int axis = args.rank - 1; axis >= 0; --axis) {
    const i64 at = split(rest, args.sizes[axis]);
    x_offset += at * args.x_strides[axis];
    y_offset += at * args.y_strides[axis];
  }
  const TYPE* x = static_cast<const TYPE*>(args.x) + x_offset;
  Pack<TYPE, VECTOR> rows[ROWS];
#pragma unroll
  for (int row = 0; row < ROWS; ++row) rows[row] = load_pack<VECTOR>(x + row * args.row_stride);
#pragma unroll
  for (int pack = 0; pack < ROWS; ++pack) {
    Pack<TYPE, VECTOR> mixed;
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) mixed[i] = rows[(pack * VECTOR + i) % ROWS][(pack * VECTOR + i) / ROWS];
    store_pack<VECTOR>(static_cast<TYPE*>(args.y) + y_offset + pack * VECTOR, mixed);
  }
}
