// Convolution and transposed convolution of floats, 1-D to 3-D, with any stride, dilation, padding and groups.
//
// Activations are channels-last: [batch, d, h, w, channels], where a pixel may be followed by a gap (its stride is
// given), so that a channel slice of a wider tensor can be read or written in place. Channels-last was measured against
// channel-blocked layouts: a 1x1 convolution is a plain matrix product, a KxK one reads rows of taps through pointers,
// and both reach over 95 % of the FMA peak in one core's cache.
//
// Weights are packed once, for a vector width, by conv_pack_weights. Threads split output pixels and output channels.
// Shapes have passed check_conv_shape().
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/conv_shape.h"
#include "backends/cpu/kernels/activation.h"
#include "backends/cpu/kernels/kernel_table.h"
#include "base/thread_team.h"

namespace lathe::cpu {

// Depends on what packing knows only: channels, groups and kernel.
enum class ConvAlgorithm : uint8_t { direct, depthwise };
ConvAlgorithm conv_algorithm(const ConvShape& shape);

// Weights come as ONNX stores them: [out, in / groups, kernel...], or [in, out / groups, kernel...] when transposed.
// Unpacking gives back exactly what was packed.
int64_t conv_packed_size(const ConvShape& shape, int vec_width);  // floats
void conv_pack_weights(const ConvShape& shape, int vec_width, const float* weights, float* packed);
void conv_unpack_weights(const ConvShape& shape, int vec_width, const float* packed, float* weights);
int conv_vec_width(const KernelTable& kernels);

// A finished block of the output, still in cache. Row r is output pixel first_pixel + r * pixel_step (in the flat order
// of batch, d, h, w) and starts at data + r * row_stride; its columns are channels from first_channel on.
struct ConvBlock {
  float* data;
  int64_t rows, columns, row_stride;
  int64_t first_pixel, pixel_step, first_channel;
};
using ConvPost = void (*)(void* context, const ConvBlock& block) noexcept;

// output = activation(conv + bias + residual), or with residual_after_activation activation(conv + bias) + residual;
// then `post`.
struct ConvEpilogue {
  const float* bias = nullptr;      // [out_channels]
  const float* residual = nullptr;  // shaped as the output
  int64_t residual_stride = 0;      // floats between pixels, 0: out_channels
  bool residual_after_activation = false;
  Activation activation;
  ConvPost post = nullptr;  // called once for every element, from any thread of the team
  void* post_context = nullptr;
};

struct ConvArgs {
  const float* input = nullptr;
  bool input_nchw = false;   // the input is [batch, channels, d, h, w] instead; direct, not transposed, ungrouped only
  int64_t input_stride = 0;  // floats between input pixels, 0: in_channels
  const float* weights = nullptr;
  float* output = nullptr;
  int64_t output_stride = 0;  // floats between output pixels, 0: out_channels
  ConvEpilogue epilogue;
  std::byte* workspace = nullptr;  // conv_workspace_bytes(), aligned to 64
};

size_t conv_workspace_bytes(const KernelTable& kernels, const ConvShape& shape, bool input_nchw, int threads);
void conv(ThreadTeam& team, const KernelTable& kernels, const ConvShape& shape, const ConvArgs& args);

}  // namespace lathe::cpu
