// Convolution in which every group has one input channel. One thread computes VECTOR neighbouring channels of a pixel
// when channels are last, else one pixel of one channel. Types and layouts as in conv.cu.
// Floor: input and output once over the bandwidth; overlapping windows read from the caches.
#define TRANSPOSED 0
#include "conv.cuh"

KERNEL(256, ConvArgs) {
  const u64 thread = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  const int packs = args.filters / VECTOR;
  if (thread >= u64(args.pixels) * packs) return;
#if OUTPUT_LAST
  const Pixel pixel(args, thread / packs);
  const int filter = int(thread % packs) * VECTOR;
#else
  const u64 image = thread / (u64(args.plane) * packs), rest = thread % (u64(args.plane) * packs);
  const Pixel pixel(args, image * args.plane + rest % args.plane);
  const int filter = int(rest / args.plane);
#endif
  // VECTOR > 1 only with as many filters as channels.
  const X* image_channels =
      static_cast<const X*>(args.input) + pixel.image * args.in_batch + filter / args.group_filters * args.in_channel;
  const W* weights = static_cast<const W*>(args.weights) + i64(filter) * args.taps;  // with one channel all layouts agree
  ACC sums[VECTOR] = {};
  int tap[3], flat = 0;
  for (tap[0] = 0; tap[0] < args.kernel[0]; ++tap[0])
    for (tap[1] = 0; tap[1] < args.kernel[1]; ++tap[1])
      for (tap[2] = 0; tap[2] < args.kernel[2]; ++tap[2], ++flat) {
        const i64 position = pixel.under(args, tap);
        if (position < 0) continue;
        const auto x = load_pack<VECTOR>(image_channels + position * args.in_pixel);
#pragma unroll
        for (int v = 0; v < VECTOR; ++v) sums[v] += widen(x[v]) * widen(weights[i64(v) * args.taps + flat]);
      }
  store<VECTOR>(args, pixel, filter, sums);
}
