// Inference for the gathers and scatters.
#include "graph/ops/infer_ops.h"

namespace lathe {
namespace {

void append(Shape& shape, const Shape& other, size_t first) {
  for (size_t i = first; i < other.size(); ++i) shape.push_back(other[i]);
}

Shape leading(const Shape& shape, size_t count) {
  return Shape(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(count));
}

// The length of the index rows of gather_nd and scatter_nd, which with `batch` more axes must not exceed the rank.
size_t row_length(const InferContext& c, const Dim& length, size_t batch, const Shape& shape) {
  if (length.value() < 0 || static_cast<uint64_t>(length.value()) > shape.size() - batch)
    c.fail("rows of {} indices do not fit", length.value());
  return static_cast<size_t>(length.value());
}

}  // namespace

Types infer_op(const Gather& op, InferContext& c) {
  c.expect_inputs(2, 2);
  const Type &x = c.tensor(0), &indices = c.index_tensor(1);
  if (!x.ranked || !indices.ranked) return {Type::unranked(x.dtype)};
  const size_t axis = c.axis(op.axis, x.rank());
  Shape shape = leading(x.shape, axis);
  append(shape, indices.shape, 0);
  append(shape, x.shape, axis + 1);
  return {Type::tensor(x.dtype, std::move(shape))};
}

Types infer_op(const GatherElements& op, InferContext& c) {
  c.expect_inputs(2, 2);
  const Type &x = c.tensor(0), &indices = c.index_tensor(1);
  if (!indices.ranked) return {Type::unranked(x.dtype)};
  c.expect_rank(0, indices.rank());
  c.axis(op.axis, indices.rank());
  return {Type::tensor(x.dtype, indices.shape)};
}

Types infer_op(const GatherNd& op, InferContext& c) {
  c.expect_inputs(2, 2);
  const Type &x = c.tensor(0), &indices = c.index_tensor(1);
  if (!x.ranked || !indices.ranked) return {Type::unranked(x.dtype)};
  if (op.batch_dims < 0 || op.batch_dims >= indices.rank() || op.batch_dims > x.rank())
    c.fail("{} batch axes do not fit", op.batch_dims);
  const auto batch = static_cast<size_t>(op.batch_dims);
  Shape shape = c.same(leading(x.shape, batch), leading(indices.shape, batch), "batch axes");
  if (!indices.shape.back().is_constant()) return {Type::unranked(x.dtype)};
  const size_t row = row_length(c, indices.shape.back(), batch, x.shape);
  append(shape, leading(indices.shape, indices.shape.size() - 1), batch);
  append(shape, x.shape, batch + row);
  return {Type::tensor(x.dtype, std::move(shape))};
}

Types infer_op(const ScatterElements& op, InferContext& c) {
  c.expect_inputs(3, 3);
  const Type &x = c.tensor(0), &indices = c.index_tensor(1), &updates = c.tensor(2);
  c.expect_dtype(2, x.dtype);
  if (x.ranked) {
    c.axis(op.axis, x.rank());
    c.expect_rank(1, x.rank());
    c.expect_rank(2, x.rank());
  }
  if (indices.ranked && updates.ranked) c.same(indices.shape, updates.shape, "shapes of indices and updates");
  return {x};
}

Types infer_op(const ScatterNd&, InferContext& c) {
  c.expect_inputs(3, 3);
  const Type &x = c.tensor(0), &indices = c.index_tensor(1), &updates = c.tensor(2);
  c.expect_dtype(2, x.dtype);
  if (!x.ranked || !indices.ranked) return {x};
  if (indices.rank() == 0) c.fail("indices need an axis");
  if (!indices.shape.back().is_constant()) return {x};
  const size_t row = row_length(c, indices.shape.back(), 0, x.shape);
  Shape expected = leading(indices.shape, indices.shape.size() - 1);
  append(expected, x.shape, row);
  if (updates.ranked) c.same(expected, updates.shape, "shape of the updates");
  return {x};
}

}  // namespace lathe
