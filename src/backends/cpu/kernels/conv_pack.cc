// Decides how convolution weights are laid out for the kernels, and how to get them back.
//
//   direct     [group][panel][kd][kh][kw][input channel][vec_width]
//   depthwise  [panel][kd][kh][kw][vec_width]
//
// Panels hold vec_width output channels; the lanes of a ragged last panel are zero.
#include <algorithm>

#include "backends/cpu/kernels/conv.h"

namespace lathe::cpu {
namespace {

int64_t volume(const Size3& size) { return size[0] * size[1] * size[2]; }

// How one weight of the source is addressed: ONNX stores [out][in / group][taps], transposed [in][out / group][taps].
struct SourceStrides {
  int64_t group, out, in;
};

SourceStrides source_strides(const ConvShape& shape) {
  const int64_t taps = volume(shape.kernel);
  const int64_t in = shape.in_channels / shape.groups, out = shape.out_channels / shape.groups;
  if (shape.transposed) return {in * out * taps, taps, out * taps};
  return {in * out * taps, in * taps, taps};
}

struct PackedSizes {
  int64_t groups, panels, taps, in, out;  // channels are those of a packed group
};

PackedSizes packed_sizes(const ConvShape& shape, int vec_width) {
  const int64_t groups = conv_algorithm(shape) == ConvAlgorithm::depthwise ? 1 : shape.groups;
  const int64_t in = conv_algorithm(shape) == ConvAlgorithm::depthwise ? 1 : shape.in_channels / shape.groups;
  const int64_t out = shape.out_channels / groups;
  return {groups, (out + vec_width - 1) / vec_width, volume(shape.kernel), in, out};
}

// Calls visit(source index, packed index) for every weight.
template <class Visit>
void for_each_weight(const ConvShape& shape, int vec_width, Visit visit) {
  const PackedSizes size = packed_sizes(shape, vec_width);
  SourceStrides source = source_strides(shape);
  if (conv_algorithm(shape) == ConvAlgorithm::depthwise) source.out = size.taps;  // [out][1][taps], group by group
  int64_t panel_start = 0;
  for (int64_t g = 0; g < size.groups; ++g) {
    for (int64_t first = 0; first < size.out; first += vec_width, panel_start += size.taps * size.in * vec_width) {
      const int64_t lanes = std::min<int64_t>(vec_width, size.out - first);
      for (int64_t tap = 0; tap < size.taps; ++tap) {
        for (int64_t i = 0; i < size.in; ++i) {
          const int64_t from = g * source.group + first * source.out + i * source.in + tap;
          const int64_t to = panel_start + (tap * size.in + i) * vec_width;
          for (int64_t lane = 0; lane < lanes; ++lane) visit(from + lane * source.out, to + lane);
        }
      }
    }
  }
}

}  // namespace

ConvAlgorithm conv_algorithm(const ConvShape& shape) {
  const bool depthwise =
      shape.groups > 1 && shape.groups == shape.in_channels && !shape.transposed && shape.kernel[0] == 1;
  return depthwise ? ConvAlgorithm::depthwise : ConvAlgorithm::direct;
}

int64_t conv_packed_size(const ConvShape& shape, int vec_width) {
  const PackedSizes size = packed_sizes(shape, vec_width);
  return size.groups * size.panels * size.taps * size.in * vec_width;
}

void conv_pack_weights(const ConvShape& shape, int vec_width, const float* weights, float* packed) {
  std::fill_n(packed, conv_packed_size(shape, vec_width), 0.0f);
  for_each_weight(shape, vec_width, [&](int64_t from, int64_t to) { packed[to] = weights[from]; });
}

void conv_unpack_weights(const ConvShape& shape, int vec_width, const float* packed, float* weights) {
  for_each_weight(shape, vec_width, [&](int64_t from, int64_t to) { weights[from] = packed[to]; });
}

}  // namespace lathe::cpu
