#include "backends/cuda/lower/conv_spec.h"

#include <limits>

namespace lathe::cuda {
namespace {

int narrow(int64_t value) {
  if (value > std::numeric_limits<int>::max()) fail(ErrorCode::unsupported, "a convolution with a size of {}", value);
  return static_cast<int>(value);
}

// Puts a list of one to three axes to the right: missing leading ones stay as they are.
template <class List>
void set_spatial(int (&to)[3], size_t spatial, const List& list) {
  for (size_t i = 0; i < spatial; ++i) to[3 - spatial + i] = narrow(list[i]);
}

struct Layout {
  long long batch, channel, pixel;
};

Layout layout_of(bool channels_last, int64_t channels, int64_t plane) {
  if (channels_last) return {channels * plane, 1, channels};
  return {channels * plane, plane, 1};
}

}  // namespace

ConvArgs ConvSpec::args(const StepIo& io, bool packed) const {
  const auto &x = io.inputs[0].dims, &w = io.inputs[1].dims, &y = io.outputs[0].dims;
  ConvArgs args{};
  for (int axis = 0; axis < 3; ++axis)
    args.in[axis] = args.out[axis] = args.kernel[axis] = args.stride[axis] = args.dilation[axis] = 1;
  set_spatial(args.in, spatial(), x.subspan(input_last ? 1 : 2));
  set_spatial(args.out, spatial(), y.subspan(output_last ? 1 : 2));
  set_spatial(args.kernel, spatial(), w.subspan(2));
  set_spatial(args.stride, spatial(), strides);
  set_spatial(args.dilation, spatial(), dilations);
  set_spatial(args.pad, spatial(), io.symbols->evaluate(pads));
  args.channels = narrow(x[input_last ? x.size() - 1 : 1]);
  args.filters = narrow(y[output_last ? y.size() - 1 : 1]);
  args.group_channels = narrow(args.channels / groups);
  args.group_filters = narrow(args.filters / groups);
  if (args.channels % groups != 0 || args.filters % groups != 0 ||
      w[0] != (transposed ? args.channels : args.filters) ||
      w[1] != (transposed ? args.group_filters : args.group_channels))
    fail(ErrorCode::invalid_argument, "{} channels in {} groups do not fit weights {}", args.channels, groups,
         to_string(w));
  args.taps = args.kernel[0] * args.kernel[1] * args.kernel[2];
  const int64_t inner = w[1], tap = packed ? inner : 1, innermost = packed ? 1 : args.taps,
                outermost = inner * args.taps;
  args.weight_tap = tap;
  args.weight_filter = transposed ? innermost : outermost;
  args.weight_channel = transposed ? outermost : innermost;
  args.weight_group = outermost * (transposed ? args.group_channels : args.group_filters);
  const int64_t in_plane = int64_t{args.in[0]} * args.in[1] * args.in[2];
  args.plane = int64_t{args.out[0]} * args.out[1] * args.out[2];
  if (std::max<int64_t>(in_plane, args.plane) > std::numeric_limits<int>::max())
    fail(ErrorCode::unsupported, "a convolution over {} pixels", in_plane);
  args.pixels = x[0] * args.plane;
  const Layout in = layout_of(input_last, args.channels, in_plane),
               out = layout_of(output_last, args.filters, args.plane);
  args.in_batch = in.batch;
  args.in_channel = in.channel;
  args.in_pixel = in.pixel;
  args.out_batch = out.batch;
  args.out_channel = out.channel;
  args.out_pixel = out.pixel;
  return args;
}

}  // namespace lathe::cuda
