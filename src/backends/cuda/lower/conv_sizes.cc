#include "backends/cuda/lower/conv_sizes.h"

#include <limits>

namespace lathe::cuda {
namespace {

int narrow(int64_t value) {
  if (value > std::numeric_limits<int>::max()) fail(ErrorCode::unsupported, "a convolution with a size of {}", value);
  return static_cast<int>(value);
}

void set(int (&to)[3], const Size3& from) {
  for (size_t axis = 0; axis < 3; ++axis) to[axis] = narrow(from[axis]);
}

struct Layout {
  long long batch, channel, pixel;
};

Layout layout_of(bool channels_last, int64_t channels, int64_t plane) {
  if (channels_last) return {channels * plane, 1, channels};
  return {channels * plane, plane, 1};
}

}  // namespace

ConvArgs conv_args(const ConvSpec& spec, const StepIo& io, bool packed) {
  const ConvShape shape = spec.shape(io);
  ConvArgs args{};
  set(args.in, shape.input);
  set(args.out, shape.output);
  set(args.kernel, shape.kernel);
  set(args.stride, shape.stride);
  set(args.dilation, shape.dilation);
  set(args.pad, shape.pad);
  args.channels = narrow(shape.in_channels);
  args.filters = narrow(shape.out_channels);
  args.group_channels = narrow(shape.in_channels / shape.groups);
  args.group_filters = narrow(shape.out_channels / shape.groups);
  args.taps = args.kernel[0] * args.kernel[1] * args.kernel[2];
  const int64_t inner = shape.transposed ? args.group_filters : args.group_channels, tap = packed ? inner : 1,
                innermost = packed ? 1 : args.taps, outermost = inner * args.taps;
  args.weight_tap = tap;
  args.weight_filter = shape.transposed ? innermost : outermost;
  args.weight_channel = shape.transposed ? outermost : innermost;
  args.weight_group = outermost * (shape.transposed ? args.group_channels : args.group_filters);
  const int64_t in_plane = int64_t{args.in[0]} * args.in[1] * args.in[2];
  args.plane = int64_t{args.out[0]} * args.out[1] * args.out[2];
  if (std::max<int64_t>(in_plane, args.plane) > std::numeric_limits<int>::max())
    fail(ErrorCode::unsupported, "a convolution over {} pixels", in_plane);
  args.pixels = shape.batch * args.plane;
  const Layout in = layout_of(spec.input_last, args.channels, in_plane),
               out = layout_of(spec.output_last, args.filters, args.plane);
  args.in_batch = in.batch;
  args.in_channel = in.channel;
  args.in_pixel = in.pixel;
  args.out_batch = out.batch;
  args.out_channel = out.channel;
  args.out_pixel = out.pixel;
  return args;
}

}  // namespace lathe::cuda
