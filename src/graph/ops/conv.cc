// Inference for conv and conv_transpose.
#include <algorithm>

#include "graph/ops/infer_ops.h"
#include "graph/ops/window.h"

namespace lathe {
namespace {

// With an operand of unknown rank only the element types can be told.
Types unranked_product(const InferContext& c, const MapProgram& epilogue, DType product) {
  if (epilogue.empty()) return {Type::unranked(product)};
  check_program(c, epilogue, {product}, 2, c.count());
  return {Type::unranked(epilogue.result_type())};
}

size_t spatial_axes(const InferContext& c, const Type& x, const Type& w) {
  if (x.rank() < 3 || x.rank() != w.rank())
    c.fail("input and weight need a batch, a channel and the same spatial axes");
  return x.shape.size() - 2;
}

}  // namespace

Types infer_op(const Conv& op, InferContext& c) {
  c.expect_inputs(2, SIZE_MAX);
  const Type &x = c.tensor(0), &w = c.tensor(1);
  const DType product = product_dtype(c, 0, 1);
  if (!x.ranked || !w.ranked) return unranked_product(c, op.epilogue, product);
  const size_t spatial = spatial_axes(c, x, w);
  if (op.groups < 1) c.fail("{} groups", op.groups);
  const bool x_last = op.channels_last && !op.channels_first_input;
  c.same(x.shape[x_last ? spatial + 1 : 1], w.shape[1] * op.groups, "input channels and weight channels times groups");
  if (w.shape[0].is_constant() && w.shape[0].value() % op.groups != 0)
    c.fail("{} output channels cannot be divided into {} groups", w.shape[0].value(), op.groups);
  check_windows(c, spatial, {}, op.strides, op.dilations, op.pads);
  Shape shape = x.shape;
  shape[op.channels_last ? spatial + 1 : 1] = w.shape[0];
  for (size_t i = 0; i < spatial; ++i) {
    const Dim padded = x.shape[(x_last ? 1 : 2) + i] + op.pads[i] + op.pads[spatial + i];
    const Dim extent = (w.shape[2 + i] - 1) * op.dilations[i] + 1;
    shape[(op.channels_last ? 1 : 2) + i] = window_count(c, padded, extent, op.strides[i]);
  }
  const DType dtype = check_epilogue(c, op.epilogue, product, shape, 2);
  return {Type::tensor(dtype, std::move(shape))};
}

Types infer_op(const ConvTranspose& op, InferContext& c) {
  c.expect_inputs(2, SIZE_MAX);
  const Type &x = c.tensor(0), &w = c.tensor(1);
  const DType product = product_dtype(c, 0, 1);
  if (!x.ranked || !w.ranked) return unranked_product(c, op.epilogue, product);
  const size_t spatial = spatial_axes(c, x, w);
  if (op.groups < 1) c.fail("{} groups", op.groups);
  const size_t channel_axis = op.channels_last ? spatial + 1 : 1, first = op.channels_last ? 1 : 2;
  const Dim channels = c.same(x.shape[channel_axis], w.shape[0], "input channels and weight channels");
  if (channels.is_constant() && channels.value() % op.groups != 0)
    c.fail("{} channels cannot be divided into {} groups", channels.value(), op.groups);
  check_windows(c, spatial, {}, op.strides, op.dilations, op.pads);
  if (op.output_padding.size() != spatial) c.fail("output_padding needs one entry for each of {} axes", spatial);
  Shape shape = x.shape;
  shape[channel_axis] = w.shape[1] * op.groups;
  for (size_t i = 0; i < spatial; ++i) {
    const Dim size = (x.shape[first + i] - 1) * op.strides[i] + op.output_padding[i] +
                     (w.shape[2 + i] - 1) * op.dilations[i] + 1 - op.pads[i] - op.pads[spatial + i];
    if (size.is_constant() && size.value() < 0) c.fail("spatial axis {} would have size {}", i, size.value());
    shape[first + i] = size;
  }
  const DType dtype = check_epilogue(c, op.epilogue, product, shape, 2);
  return {Type::tensor(dtype, std::move(shape))};
}

}  // namespace lathe
