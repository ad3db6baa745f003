// The numbers of a convolution or its transpose, in the form that kernels of every device take.
#pragma once

#include <array>
#include <cstdint>

namespace lathe {

using Size3 = std::array<int64_t, 3>;  // depth, height, width

// 1-D is 2-D with height 1; 2-D is 3-D with depth 1.
struct ConvShape {
  bool transposed = false;
  int64_t batch = 1, groups = 1, in_channels = 1, out_channels = 1;
  Size3 input = {1, 1, 1}, output = {1, 1, 1};
  Size3 kernel = {1, 1, 1}, stride = {1, 1, 1}, dilation = {1, 1, 1};
  Size3 pad = {0, 0, 0};  // before; what lies after follows from the output size. Negative crops.
};

// Throws Error(invalid_argument) when the numbers make no convolution.
void check_conv_shape(const ConvShape& shape);

}  // namespace lathe
