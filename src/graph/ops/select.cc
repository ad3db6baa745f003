// Inference for top_k, non_zero and nms.
#include "graph/ops/infer_ops.h"

namespace lathe {

Types infer_op(const TopK& op, InferContext& c) {
  c.expect_inputs(1, 1);
  const Type& x = c.tensor(0);
  Type values = x;
  if (x.ranked) {
    const size_t axis = c.axis(op.axis, x.rank());
    const Dim& size = x.shape[axis];
    if (op.k.is_constant() && (op.k.value() < 0 || (size.is_constant() && op.k.value() > size.value())))
      c.fail("cannot select {} of {} elements", op.k.value(), size.to_string());
    values.shape[axis] = op.k;
  }
  Type indices = values;
  indices.dtype = DType::i64;
  return {std::move(values), std::move(indices)};
}

Types infer_op(const NonZero&, InferContext& c) {
  c.expect_inputs(1, 1);
  const Type& x = c.tensor(0);
  const Dim rank = x.ranked ? Dim(x.rank()) : c.fresh();
  return {Type::tensor(DType::i64, {rank, c.fresh()})};
}

Types infer_op(const Nms&, InferContext& c) {
  c.expect_inputs(2, 2);
  const Type &boxes = c.float_tensor(0), &scores = c.float_tensor(1);
  c.expect_dtype(1, boxes.dtype);
  c.expect_rank(0, 3);
  c.expect_rank(1, 3);
  if (boxes.ranked) c.same(boxes.shape[2], 4, "coordinates of a box");
  if (boxes.ranked && scores.ranked) {
    c.same(boxes.shape[0], scores.shape[0], "batch sizes");
    c.same(boxes.shape[1], scores.shape[2], "numbers of boxes and scores");
  }
  return {Type::tensor(DType::i64, {c.fresh(), 3})};
}

}  // namespace lathe
