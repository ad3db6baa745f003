// Attributes that convolutions and pools share: strides, dilations and padding over spatial axes.
#pragma once

#include <vector>

#include "onnx/importers/context.h"

namespace lathe::onnx {

struct Window {
  std::vector<int64_t> kernel, strides, dilations;
  Shape pads;  // all begins, then all ends
};

// For the operand x [N, C, spatial..] (input 0). `kernel` holds the spatial sizes. `ceil_mode` matters to auto_pad
// only.
Window read_window(Context& ctx, std::vector<int64_t> kernel);

// The product with a bias [M] added, as an epilogue program over (product, bias [M, 1, ..]).
MapProgram bias_epilogue(DType type);
Value* channel_vector(Context& ctx, Value* vector, int64_t spatial_rank);  // [M] as [M, 1, ..]

}  // namespace lathe::onnx
