// Group and instance norm: one block per group of channels of an image, which lie together in memory. Floor: bytes of x
// and y over the bandwidth. ELEMENT is the element type, SCALE and BIAS those of the parameters. VECTOR > 1 only when a
// pack lies within one channel.
#include "norm_row.cuh"
#include "row_args.h"

using T = ELEMENT;

struct GroupRow {
  const T* input;
  T* output;
  const SCALE* scale;  // of the first channel of the group
  const BIAS* bias;
  i64 space;

  __device__ void load(i64 column, WIDE (&values)[VECTOR]) const {
    const auto pack = load_pack<VECTOR>(input + column);
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) values[i] = to_register(pack[i]);
  }
  __device__ void store(i64 column, const WIDE (&x)[VECTOR], WIDE mean, WIDE factor) const {
    const i64 channel = u64(column) / u64(space);
    const WIDE weight = factor * to_register(scale[channel]), offset = to_register(bias[channel]);
    Pack<T, VECTOR> pack;
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) pack[i] = from_register<T>((x[i] - mean) * weight + offset);
    store_pack<VECTOR>(output + column, pack);
  }
};

KERNEL(kRowThreads, GroupNormArgs) {
  const i64 index = row_of_thread(args.rows);
  const i64 channel = index % args.groups * args.group_channels;
  const GroupRow row{static_cast<const T*>(args.input) + index * args.width,
                     static_cast<T*>(args.output) + index * args.width, static_cast<const SCALE*>(args.scale) + channel,
                     static_cast<const BIAS*>(args.bias) + channel, args.space};
  normalise_row(row, row, args.width, args.epsilon);
}
