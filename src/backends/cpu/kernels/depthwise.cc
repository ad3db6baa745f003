// Decides how depthwise convolution is split: by panels of channels first, so that the rows of one panel of one image
// are read from the nearest cache by all filter rows that need them, then by output rows.
#include <algorithm>

#include "backends/cpu/kernels/conv_internal.h"
#include "backends/cpu/kernels/depthwise_kernels.h"

namespace lathe::cpu {
namespace {

int64_t multiplier(const ConvShape& shape) { return shape.out_channels / shape.groups; }

int64_t input_pixels(const ConvShape& shape) { return shape.batch * shape.input[0] * shape.input[1] * shape.input[2]; }

// Over three axes the filter is flat: each output plane is that of one input plane, and an image like any other.
int64_t output_images(const ConvShape& shape) { return shape.batch * shape.output[0]; }

// The input plane that output image `image` sees; -1 when it lies in the padding.
int64_t input_plane(const ConvShape& shape, int64_t image) {
  const int64_t depth = image % shape.output[0] * shape.stride[0] - shape.pad[0];
  return depth < 0 || depth >= shape.input[0] ? -1 : image / shape.output[0] * shape.input[0] + depth;
}

// Each input channel repeated once per output channel that it feeds: then lane i of the input meets lane i of the
// weights.
void repeat_channels(ThreadTeam& team, const ConvShape& shape, const ConvArgs& args, float* repeated) {
  const int64_t times = multiplier(shape);
  team.parallel_for(input_pixels(shape), [&](int64_t begin, int64_t end, int) {
    for (int64_t pixel = begin; pixel < end; ++pixel) {
      const float* from = args.input + pixel * args.input_stride;
      float* to = repeated + pixel * shape.out_channels;
      for (int64_t c = 0; c < shape.in_channels; ++c) to = std::fill_n(to, times, from[c]);
    }
  });
}

// Rows [begin, end) of one image's panel.
struct PlaneJob {
  const ConvShape& shape;
  const ConvArgs& args;
  const KernelTable& kernels;
  KernelEpilogue epilogue;

  void run(int64_t image, int64_t first_channel, Range rows) const;
};

void PlaneJob::run(int64_t image, int64_t first_channel, Range rows) const {
  const int vec_width = kernels.depthwise.vec_width;
  const int64_t first_pixel = image * shape.output[1] * shape.output[2];
  DepthwisePlane plane = {};
  plane.channels = static_cast<int>(std::min<int64_t>(vec_width, shape.out_channels - first_channel));
  const int64_t source = input_plane(shape, image);
  plane.input =
      args.input + std::max<int64_t>(source, 0) * shape.input[1] * shape.input[2] * args.input_stride + first_channel;
  plane.input_stride = args.input_stride;
  plane.in_height = source < 0 ? 0 : shape.input[1];
  plane.in_width = shape.input[2];
  plane.weights = args.weights + first_channel * shape.kernel[1] * shape.kernel[2];
  plane.kernel_h = shape.kernel[1], plane.kernel_w = shape.kernel[2];
  plane.stride_h = shape.stride[1], plane.stride_w = shape.stride[2];
  plane.dilation_h = shape.dilation[1], plane.dilation_w = shape.dilation[2];
  plane.pad_h = shape.pad[1], plane.pad_w = shape.pad[2];
  plane.bias = epilogue.bias == nullptr ? nullptr : epilogue.bias + first_channel;
  plane.residual = epilogue.residual == nullptr
                       ? nullptr
                       : epilogue.residual + first_pixel * epilogue.residual_stride + first_channel;
  plane.residual_stride = epilogue.residual_stride;
  plane.lower = epilogue.lower;
  plane.upper = epilogue.upper;
  plane.out = args.output + first_pixel * args.output_stride + first_channel;
  plane.out_stride = args.output_stride;
  plane.out_width = shape.output[2];
  plane.row_begin = rows.begin;
  plane.row_end = rows.end;
  kernels.depthwise.plane(plane);
  const int64_t skipped = rows.begin * shape.output[2];
  finish_block(args.epilogue, epilogue,
               {plane.out + skipped * plane.out_stride, rows.size() * shape.output[2], plane.channels, plane.out_stride,
                first_pixel + skipped, 1, first_channel},
               kernels);
}

constexpr int64_t kRowsPerThread = 3;  // fewer, and the threads' shares of the rows differ too much

}  // namespace

size_t depthwise_workspace_bytes(const ConvShape& shape) {
  if (multiplier(shape) == 1) return 0;
  return static_cast<size_t>(input_pixels(shape) * shape.out_channels) * sizeof(float);
}

void depthwise_conv(ThreadTeam& team, const KernelTable& kernels, const ConvShape& shape, const ConvArgs& args) {
  ConvArgs repeated = args;
  if (multiplier(shape) != 1) {
    float* copy = reinterpret_cast<float*>(args.workspace);
    repeat_channels(team, shape, args, copy);
    repeated.input = copy;
    repeated.input_stride = shape.out_channels;
  }
  const PlaneJob job = {shape, repeated, kernels, kernel_epilogue(args.epilogue, shape.out_channels)};
  const int64_t vec_width = kernels.depthwise.vec_width;
  const int64_t panels = (shape.out_channels + vec_width - 1) / vec_width;
  const int64_t height = shape.output[1], images = output_images(shape);
  // With rows enough for all, threads share them out as the pointwise convolutions around this one do: what a core
  // reads it has written itself. Within its rows a thread goes panel by panel.
  if (images * height >= kRowsPerThread * team.size()) {
    team.parallel_for(images * height, [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end;) {
        const int64_t image = row / height, image_end = std::min(end, (image + 1) * height);
        for (int64_t panel = 0; panel < panels; ++panel)
          job.run(image, panel * vec_width, {row - image * height, image_end - image * height});
        row = image_end;
      }
    });
    return;
  }
  team.parallel_for(images * panels, [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) job.run(plane / panels, plane % panels * vec_width, {0, height});
  });
}

}  // namespace lathe::cpu
