// Convolution and its transpose as a product that is never laid out: rows are pixels of the result, columns its
// channels within a group, and the depth runs over the taps and channels of the group. A block computes 64 x 64
// results, a thread 4 x 4. X, W are storage types, ACC the type of sums; INPUT_LAST, OUTPUT_LAST: channels last;
// TRANSPOSED. Serves every rank, group count, stride, dilation and padding. Floor: 2 * results * depth over the rate of
// multiply-adds; where cuDNN is at hand it is the faster one.
#include "conv.cuh"

constexpr int kTile = 64, kDepth = 8, kThreads = 256, kEach = 4, kPad = 4;
constexpr int kLoads = kTile * kDepth / kThreads, kDepthStep = kThreads / kTile;

// Which channel of the group and which tap a step of the depth stands for; what lies together in memory comes together.
struct Depth {
  int channel, tap;
  __device__ Depth(const ConvArgs& args, int k)
      : channel(INPUT_LAST ? k % args.group_channels : k / args.taps),
        tap(INPUT_LAST ? k / args.group_channels : k % args.taps) {}
};

KERNEL(kThreads, ConvArgs) {
  __shared__ ACC pixels[2][kDepth][kTile + kPad], filters[2][kDepth][kTile + kPad];
  const int group = blockIdx.z, filter0 = blockIdx.y * kTile;
  const i64 pixel0 = i64(blockIdx.x) * kTile;
  const int depth = args.group_channels * args.taps;
  // Each thread loads for one pixel and one filter only.
  const int mine = threadIdx.x % kTile, first_k = threadIdx.x / kTile;
  const bool has_pixel = pixel0 + mine < args.pixels, has_filter = filter0 + mine < args.group_filters;
  const Pixel pixel(args, has_pixel ? pixel0 + mine : 0);
  const X* image = static_cast<const X*>(args.input) + pixel.image * args.in_batch +
                   i64(group) * args.group_channels * args.in_channel;
  const W* weights = static_cast<const W*>(args.weights) + group * args.weight_group;
  ACC next_pixels[kLoads], next_filters[kLoads];
  const auto fetch = [&](int k0) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int k = k0 + first_k + i * kDepthStep;
      next_pixels[i] = next_filters[i] = ACC(0);
      if (k >= depth) continue;
      const Depth at(args, k);
      if (has_pixel) {
        int tap[3];
        split_tap(args, at.tap, tap);
        const i64 position = pixel.under(args, tap);
        if (position >= 0) next_pixels[i] = widen(image[at.channel * args.in_channel + position * args.in_pixel]);
      }
      if (has_filter) {
        const int filter = filter0 + mine;
next_filters[i] = widen(weights[filter * args.weight_filter + at.channel * args.weight_channel +
                                        at.tap * args.weight_tap]);
      }
    }
  };
  const auto put = [&](int stage) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      pixels[stage][first_k + i * kDepthStep][mine] = next_pixels[i];
      filters[stage][first_k + i * kDepthStep][mine] = next_filters[i];
    }
  };
  // Results that are neighbours in memory belong to neighbouring threads.
  const int fast = threadIdx.x % (kTile / kEach) * kEach, slow = threadIdx.x / (kTile / kEach) * kEach;
  const int my_pixel = OUTPUT_LAST ? slow : fast, my_filter = OUTPUT_LAST ? fast : slow;
  ACC sums[kEach][kEach] = {};  // pixel, filter
  fetch(0);
  put(0);
  __syncthreads();
  int stage = 0;
  for (int k0 = 0; k0 < depth; k0 += kDepth) {
    const bool more = k0 + kDepth < depth;
    if (more) fetch(k0 + kDepth);
#pragma unroll
    for (int k = 0; k < kDepth; ++k)
#pragma unroll
      for (int i = 0; i < kEach; ++i)
#pragma unroll
        for (int j = 0; j < kEach; ++j) sums[i][j] += pixels[stage][k][my_pixel + i] * filters[stage][k][my_filter + j];
    if (more) put(stage ^ 1);
    __syncthreads();
    stage ^= 1;
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    if (pixel0 + my_pixel + i >= args.pixels) break;
    const Pixel result(args, pixel0 + my_pixel + i);
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int filter = filter0 + my_filter + j;
      const ACC one[1] = {sums[i][j]};
      if (filter < args.group_filters) store<1>(args, result, group * args.group_filters + filter, one);
    }
  }
}
