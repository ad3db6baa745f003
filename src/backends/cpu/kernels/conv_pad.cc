// Decides when a convolution reads a padded copy of its input, and makes it.
#include <algorithm>

#include "backends/cpu/kernels/conv_internal.h"

namespace lathe::cpu {
namespace {

// Below this many input channels a tap's own run is so short that finding it costs as much as using it.
constexpr int64_t kShortRun = 16;

// One row of the copy from one row of the source; `channel_stride` and `pixel_stride` describe the source.
void copy_row(const float* source, int64_t channel_stride, int64_t pixel_stride, int64_t channels, int64_t pixels,
              float* to) {
  if (channel_stride == 1 && pixel_stride == channels) {
    std::copy_n(source, channels * pixels, to);
    return;
  }
  if (channels == 3) {  // pictures
    for (int64_t w = 0; w < pixels; ++w) {
      const float* from = source + w * pixel_stride;
      to[w * 3] = from[0];
      to[w * 3 + 1] = from[channel_stride];
      to[w * 3 + 2] = from[2 * channel_stride];
    }
    return;
  }
  for (int64_t w = 0; w < pixels; ++w) {
    for (int64_t c = 0; c < channels; ++c) to[w * channels + c] = source[w * pixel_stride + c * channel_stride];
  }
}

}  // namespace

bool needs_padded_copy(const ConvShape& shape, bool input_nchw) {
  if (input_nchw) return true;
  return !shape.transposed && shape.groups == 1 && shape.in_channels < kShortRun && shape.kernel[2] > 1 &&
         shape.dilation[2] == 1;
}

ConvShape padded_shape(const ConvShape& shape) {
  ConvShape padded = shape;
  for (size_t axis = 0; axis < 3; ++axis) {
    const int64_t windows = std::max<int64_t>(0, shape.output[axis] - 1) * shape.stride[axis];
    padded.input[axis] = windows + (shape.kernel[axis] - 1) * shape.dilation[axis] + 1;
    padded.pad[axis] = 0;
  }
  return padded;
}

void copy_padded(ThreadTeam& team, const ConvShape& shape, const ConvArgs& args, float* copy) {
  const Size3 from = shape.input, to = padded_shape(shape).input, pad = shape.pad;
  const int64_t channels = shape.in_channels, volume = from[0] * from[1] * from[2];
  const int64_t pixel_stride = args.input_nchw ? 1 : args.input_stride;
  const int64_t channel_stride = args.input_nchw ? volume : 1;
  const int64_t image_size = volume * (args.input_nchw ? channels : args.input_stride);
  // Columns [first, last) of the copy hold input; the rest is padding.
  const int64_t first = std::clamp<int64_t>(pad[2], 0, to[2]);
  const int64_t last = std::clamp<int64_t>(pad[2] + from[2], first, to[2]);
  team.parallel_for(shape.batch * to[0] * to[1], [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      float* out = copy + row * to[2] * channels;
      const int64_t h = row % to[1] - pad[1], d = row / to[1] % to[0] - pad[0], image = row / to[1] / to[0];
      if (h < 0 || h >= from[1] || d < 0 || d >= from[0]) {
        std::fill_n(out, to[2] * channels, 0.0f);
        continue;
      }
      const int64_t pixel = (d * from[1] + h) * from[2] + first - pad[2];
      std::fill_n(out, first * channels, 0.0f);
      copy_row(args.input + image * image_size + pixel * pixel_stride, channel_stride, pixel_stride, channels,
               last - first, out + first * channels);
      std::fill_n(out + last * channels, (to[2] - last) * channels, 0.0f);
    }
  });
}

}  // namespace lathe::cpu
