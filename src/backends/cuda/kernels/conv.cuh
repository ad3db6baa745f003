// What the convolution kernels share: where taps fall, and how results are stored.
#pragma once

#include "conv_args.h"
#include "epilogue.cuh"

// One pixel of the result.
struct Pixel {
  i64 image, index;  // index within its plane
  int at[3];

  __device__ Pixel(const ConvArgs& args, i64 flat) {
    image = flat / args.plane;
    index = flat % args.plane;
    u32 rest = u32(index);
#pragma unroll
    for (int axis = 2; axis > 0; --axis) {
      at[axis] = int(rest % args.out[axis]);
      rest /= args.out[axis];
    }
    at[0] = int(rest);
  }

  // The pixel of the input under a tap; -1 when there is none.
  __device__ i64 under(const ConvArgs& args, const int (&tap)[3]) const {
    i64 position = 0;
    bool inside = true;
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
#if TRANSPOSED
      const int reach = at[axis] + args.pad[axis] - tap[axis] * args.dilation[axis];
      const int in = reach / args.stride[axis];
      inside = inside && reach >= 0 && in * args.stride[axis] == reach && in < args.in[axis];
#else
      const int in = at[axis] * args.stride[axis] - args.pad[axis] + tap[axis] * args.dilation[axis];
      inside = inside && in >= 0 && in < args.in[axis];
#endif
      position = position * args.in[axis] + in;
    }
    return inside ? position : -1;
  }
};

inline __device__ void split_tap(const ConvArgs& args, int flat, int (&tap)[3]) {
  tap[2] = flat % args.kernel[2];
  flat /= args.kernel[2];
  tap[1] = flat % args.kernel[1];
  tap[0] = flat / args.kernel[1];
}

template <int N, class Accumulator>
inline __device__ void store(const ConvArgs& args, const Pixel& pixel, int filter, const Accumulator (&sums)[N]) {
  const i64 offset = pixel.image * args.out_batch + filter * args.out_channel + pixel.index * args.out_pixel;
#if OUTPUT_LAST
  finish<N>(args.epilogue, args.output, 0, pixel.image * args.plane + pixel.index, filter, offset, sums);
#else
  finish<N>(args.epilogue, args.output, pixel.image, filter, pixel.index, offset, sums);
#endif
}

inline __device__ ACC widen(float x) { return ACC(x); }
inline __device__ ACC widen(f16 x) { return ACC(to_float(x)); }
inline __device__ ACC widen(bf16 x) { return ACC(to_float(x)); }
template <class T>
inline __device__ ACC widen(T x) {
  return ACC(x);
}
