// Attributes that convolutions and pools share: strides, dilations and padding over spatial axes.
#pragma once

#include <vector>

#include "onnx/importers/context.h"

namespace lathe::onnx {

struct Window {
  std::vector<int64_t> kernel, strides, dilations;
  Shape pads;  // all begins, then all ends
};

// For the operand x (input 0), [N, C, spatial..] or [N, spatial.., C]. `kernel` holds the spatial sizes.
Window read_window(Context& ctx, std::vector<int64_t> kernel, bool channels_last = false);

// The spatial sizes of a weight [M, C / groups, kernel..], which an attribute may repeat.
std::vector<int64_t> kernel_sizes(Context& ctx, const Shape& weight);
// What the attributes say of the convolution with such a weight, and of a pool.
Conv read_conv(Context& ctx, const Shape& weight, bool channels_last = false);
Pool read_pool(Context& ctx, PoolKind kind, bool channels_last = false);

// The product with a bias [M] added, as an epilogue program over (product, bias [M, 1, ..]).
MapProgram bias_epilogue(DType type);
Value* channel_vector(Context& ctx, Value* vector, int64_t spatial_rank);  // [M] as [M, 1, ..]

// Channels last, [N, spatial.., C], as images are laid out for GPUs, and back.
Value* channels_first(Emitter& emitter, Value* x);
Value* channels_last(Emitter& emitter, Value* x);

}  // namespace lathe::onnx
