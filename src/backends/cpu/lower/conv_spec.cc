#include "backends/cpu/lower/conv_spec.h"

namespace lathe::cpu {
namespace {

// Puts a list of one to three axes to the right in `size`: a missing depth and height stay as they are.
void set_spatial(Size3& size, std::span<const int64_t> list) {
  for (size_t i = 0; i < list.size(); ++i) size[3 - list.size() + i] = list[i];
}

}  // namespace

ConvShape shape_of(const ConvSpec& spec, const StepIo& io) {
  const auto &x = io.inputs[0].dims, &w = io.inputs[1].dims, &y = io.outputs[0].dims;
  const size_t spatial = w.size() - 2;
  ConvShape shape;
  shape.transposed = spec.transposed;
  shape.groups = spec.groups;
  shape.batch = x[0];
  shape.in_channels = x[spec.input_last ? spatial + 1 : 1];
  shape.out_channels = y[spec.output_last ? spatial + 1 : 1];
  set_spatial(shape.input, x.subspan(spec.input_last ? 1 : 2, spatial));
  set_spatial(shape.output, y.subspan(spec.output_last ? 1 : 2, spatial));
  set_spatial(shape.kernel, w.subspan(2));
  set_spatial(shape.stride, spec.strides);
  set_spatial(shape.dilation, spec.dilations);
  set_spatial(shape.pad, std::span<const int64_t>(io.symbols->evaluate(spec.pads)).first(spatial));
  return shape;
}

}  // namespace lathe::cpu
