#include "backends/conv_spec.h"

#include <algorithm>

#include "base/error.h"

namespace lathe {
namespace {

// Puts a list of one to three axes to the right in `size`: a missing depth and height stay as they are.
void set_spatial(Size3& size, std::span<const int64_t> list) {
  std::copy_backward(list.begin(), list.end(), size.end());
}

void check_weights(const ConvShape& shape, std::span<const int64_t> weights) {
  const int64_t outer = shape.transposed ? shape.in_channels : shape.out_channels,
                inner = (shape.transposed ? shape.out_channels : shape.in_channels) / shape.groups;
  if (weights[0] != outer || weights[1] != inner)
    fail(ErrorCode::invalid_argument, "convolution: {} input and {} output channels in {} groups do not fit weights {}",
         shape.in_channels, shape.out_channels, shape.groups, to_string(weights));
}

}  // namespace

void check_conv_shape(const ConvShape& shape) {
  const auto at_least = [](const char* what, int64_t value, int64_t least) {
    if (value < least)
      fail(ErrorCode::invalid_argument, "convolution: {} is {}, at least {} expected", what, value, least);
  };
  at_least("batch", shape.batch, 0);
  at_least("groups", shape.groups, 1);
  at_least("input channels", shape.in_channels, 0);
  at_least("output channels", shape.out_channels, 0);
  for (size_t axis = 0; axis < 3; ++axis) {
    at_least("an input size", shape.input[axis], 0);
    at_least("an output size", shape.output[axis], 0);
    at_least("a kernel size", shape.kernel[axis], 1);
    at_least("a stride", shape.stride[axis], 1);
    at_least("a dilation", shape.dilation[axis], 1);
  }
  if (shape.in_channels % shape.groups != 0 || shape.out_channels % shape.groups != 0) {
    fail(ErrorCode::invalid_argument, "convolution: {} input and {} output channels do not divide into {} groups",
         shape.in_channels, shape.out_channels, shape.groups);
  }
}

ConvShape ConvSpec::shape(const StepIo& io) const {
  const auto &x = io.inputs[0].dims, &w = io.inputs[1].dims, &y = io.outputs[0].dims;
  ConvShape shape;
  shape.transposed = transposed;
  shape.groups = groups;
  shape.batch = x[0];
  shape.in_channels = x[input_last ? spatial() + 1 : 1];
  shape.out_channels = y[output_last ? spatial() + 1 : 1];
  set_spatial(shape.input, x.subspan(input_last ? 1 : 2, spatial()));
  set_spatial(shape.output, y.subspan(output_last ? 1 : 2, spatial()));
  set_spatial(shape.kernel, w.subspan(2));
  set_spatial(shape.stride, strides);
  set_spatial(shape.dilation, dilations);
  set_spatial(shape.pad, std::span<const int64_t>(io.symbols->evaluate(pads)).first(spatial()));
  check_conv_shape(shape);
  check_weights(shape, w);
  return shape;
}

}  // namespace lathe
