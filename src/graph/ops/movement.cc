// Inference for reshape, transpose, slice, concat, pad and reverse_sequence.
#include <fmt/format.h>

#include <algorithm>

#include "graph/ops/infer_ops.h"

namespace lathe {

Types infer_op(const Reshape& op, InferContext& c) {
  c.expect_inputs(1, 1);
  const Type& x = c.tensor(0);
  for (const Dim& dim : op.shape)
    if (dim.is_constant() && dim.value() < 0) c.fail("shape {} has a negative size", to_string(op.shape));
  if (x.ranked && never_equal(product(x.shape), product(op.shape)))
    c.fail("{} elements cannot take shape {}", product(x.shape).to_string(), to_string(op.shape));
  return {Type::tensor(x.dtype, op.shape)};
}

Types infer_op(const Transpose& op, InferContext& c) {
  c.expect_inputs(1, 1);
  const Type& x = c.tensor(0);
  std::vector<int64_t> sorted = op.perm;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size(); ++i)
    if (sorted[i] != static_cast<int64_t>(i)) c.fail("[{}] is not a permutation", fmt::join(op.perm, ", "));
  c.expect_rank(0, static_cast<int64_t>(op.perm.size()));
  if (!x.ranked) return {x};
  Shape shape;
  for (const int64_t axis : op.perm) shape.push_back(x.shape[static_cast<size_t>(axis)]);
  return {Type::tensor(x.dtype, std::move(shape))};
}

namespace {

void check_slice_axis(const InferContext& c, const Dim& size, const Dim& start, const Dim& count, int64_t step) {
  if (step == 0) c.fail("a step is 0");
  if (!count.is_constant()) return;
  if (count.value() < 0) c.fail("a size is {}", count.value());
  if (count.value() == 0) return;
  const Dim last = start + Dim(count.value() - 1) * step;
  for (const Dim& end : {start, last})
    if ((end.is_constant() && end.value() < 0) ||
        (end.is_constant() && size.is_constant() && end.value() >= size.value()))
      c.fail("element {} of an axis of {} does not exist", end.to_string(), size.to_string());
}

}  // namespace

Types infer_op(const Slice& op, InferContext& c) {
  c.expect_inputs(1, 1);
  const Type& x = c.tensor(0);
  const size_t n = op.axes.size();
  if (op.starts.size() != n || op.sizes.size() != n || op.steps.size() != n)
    c.fail("{} axes, {} starts, {} sizes, {} steps", n, op.starts.size(), op.sizes.size(), op.steps.size());
  if (!x.ranked) return {x};
  Type y = x;
  for (size_t i = 0; i < n; ++i) {
    const size_t axis = c.axis(op.axes[i], x.rank());
    if (i > 0 && op.axes[i] <= op.axes[i - 1]) c.fail("axes must be sorted and distinct");
    check_slice_axis(c, x.shape[axis], op.starts[i], op.sizes[i], op.steps[i]);
    y.shape[axis] = op.sizes[i];
  }
  return {y};
}

Types infer_op(const Concat& op, InferContext& c) {
  c.expect_inputs(1, SIZE_MAX);
  Type y = c.tensor(0);
  for (size_t i = 1; i < c.count(); ++i) {
    c.expect_dtype(i, y.dtype);
    const Type& x = c.tensor(i);
    if (!x.ranked) y = x;
    if (!y.ranked) continue;
    c.expect_rank(i, y.rank());
    const size_t axis = c.axis(op.axis, y.rank());
    for (size_t k = 0; k < y.shape.size(); ++k)
      y.shape[k] = k == axis ? y.shape[k] + x.shape[k] : c.same(y.shape[k], x.shape[k], "sizes beside the joined axis");
  }
  if (y.ranked) c.axis(op.axis, y.rank());
  return {y};
}

Types infer_op(const Pad& op, InferContext& c) {
  c.expect_inputs(1, 2);
  const Type& x = c.tensor(0);
  if (c.has(1)) {
    c.expect_dtype(1, x.dtype);
    c.expect_rank(1, 0);
  }
  if (op.begins.size() != op.ends.size()) c.fail("{} begins and {} ends", op.begins.size(), op.ends.size());
  c.expect_rank(0, static_cast<int64_t>(op.begins.size()));
  if (!x.ranked) return {x};
  Type y = x;
  for (size_t i = 0; i < y.shape.size(); ++i) {
    y.shape[i] = x.shape[i] + op.begins[i] + op.ends[i];
    if (y.shape[i].is_constant() && y.shape[i].value() < 0) c.fail("axis {} would have size {}", i, y.shape[i].value());
  }
  return {y};
}

Types infer_op(const ReverseSequence& op, InferContext& c) {
  c.expect_inputs(2, 2);
  const Type &x = c.tensor(0), &lengths = c.index_tensor(1);
  c.expect_rank(1, 1);
  if (op.batch_axis == op.time_axis) c.fail("axis {} is both batch and time", op.batch_axis);
  if (!x.ranked) return {x};
  c.axis(op.time_axis, x.rank());
  const Dim& batch = x.shape[c.axis(op.batch_axis, x.rank())];
  if (lengths.ranked) c.same(batch, lengths.shape[0], "batch and number of lengths");
  return {x};
}

}  // namespace lathe
