// Elementwise programs over broadcast operands. One thread computes VECTOR consecutive elements of the output; RANK
// axes are left after merging. INDEX is the type of positions: 32 bits unless the tensor is larger than that.
#include "map_args.h"
#include "map_ops.cuh"
#include "program.cuh"

struct Position {
  INDEX at[RANK];  // of the first element
  // Only programs that were compiled without merged axes ask.
  __device__ i64 iota(int axis_from_end, int element) const {
    return i64(at[RANK + axis_from_end]) + (axis_from_end == -1 ? element : 0);
  }
};

struct Reader {
  const MapArgs& args;
  const Position& position;

  template <class T, int N>
  __device__ Pack<T, N> load(int input) const {
    const T* from = static_cast<const T*>(args.inputs[input]);
    i64 offset = 0;
#pragma unroll
    for (int axis = 0; axis < RANK; ++axis) offset += i64(position.at[axis]) * args.strides[input][axis];
    const i64 step = args.strides[input][RANK - 1];
    Pack<T, N> pack;
    if (N > 1 && step == 1) return load_pack<N>(from + offset);
#pragma unroll
    for (int i = 0; i < N; ++i) pack[i] = from[offset + i * step];
    return pack;
  }
};

KERNEL(256, MapArgs) {
  const u64 thread = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= args.packs) return;
  Position position;
  INDEX rest = INDEX(thread) * VECTOR;
#pragma unroll
  for (int axis = RANK - 1; axis > 0; --axis) {
    const INDEX size = INDEX(args.sizes[axis]);
    position.at[axis] = rest % size;
    rest /= size;
  }
  position.at[0] = rest;
  Program::Registers registers[VECTOR];
  Program::read<0, VECTOR>(Reader{args, position}, registers);
  Pack<Program::Output, VECTOR> result;
#pragma unroll
  for (int i = 0; i < VECTOR; ++i)
    result[i] = from_register<Program::Output>(Program::evaluate(registers[i], position, i, args.dims));
  store_pack<VECTOR>(static_cast<Program::Output*>(args.output) + thread * VECTOR, result);
}
