// What the drivers of direct and depthwise convolution share: the epilogue in the terms of the kernels, and the copy of
// the input that some shapes need first.
#pragma once

#include "backends/cpu/kernels/conv.h"

namespace lathe::cpu {

// The tile kernels add bias and residual and clamp in registers; what they cannot do is a second pass over the block.
struct KernelEpilogue {
  const float* bias;
  const float* residual;
  int64_t residual_stride;
  float lower, upper;
  bool second_pass;
};
KernelEpilogue kernel_epilogue(const ConvEpilogue& epilogue, int64_t out_channels);

// Everything that follows the kernel: the second pass if one is needed, then `post`.
void finish_block(const ConvEpilogue& epilogue, const KernelEpilogue& in_kernel, const ConvBlock& block,
                  const KernelTable& kernels);

// Input channels too few to make a good run on their own are copied into an image that holds its padding, where a whole
// filter row is one run; an NCHW input is transposed on the way.
bool needs_padded_copy(const ConvShape& shape, bool input_nchw);
ConvShape padded_shape(const ConvShape& shape);  // the same convolution on the copy
void copy_padded(ThreadTeam& team, const ConvShape& shape, const ConvArgs& args, float* copy);

size_t depthwise_workspace_bytes(const ConvShape& shape);
void depthwise_conv(ThreadTeam& team, const KernelTable& kernels, const ConvShape& shape, const ConvArgs& args);

}  // namespace lathe::cpu
