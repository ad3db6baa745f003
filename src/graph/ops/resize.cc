// Inference for resize.
#include "graph/ops/infer_ops.h"

namespace lathe {

Types infer_op(const Resize& op, InferContext& c) {
  c.expect_inputs(1, 2);
  const Type& x = c.tensor(0);
  if (c.has(1)) {
    c.expect_dtype(1, DType::f32);
    c.expect_rank(1, 1);
    if (!op.scales.empty()) c.fail("scales are given twice, as a field and as an operand");
  }
  if (op.sizes.size() != op.axes.size()) c.fail("{} sizes for {} axes", op.sizes.size(), op.axes.size());
  if (!op.scales.empty() && op.scales.size() != op.axes.size())
    c.fail("{} scales for {} axes", op.scales.size(), op.axes.size());
  if (op.coordinates == ResizeCoordinates::tf_crop_and_resize && op.roi.size() != 2 * op.axes.size())
    c.fail("a region of interest needs {} numbers, {} are given", 2 * op.axes.size(), op.roi.size());
  if (!x.ranked) return {x};
  Type y = x;
  std::vector<bool> seen(x.shape.size(), false);
  for (size_t i = 0; i < op.axes.size(); ++i) {
    if (op.sizes[i].is_constant() && op.sizes[i].value() < 0) c.fail("size {} is negative", op.sizes[i].value());
    const size_t axis = c.axis(op.axes[i], x.rank());
    if (seen[axis]) c.fail("axis {} stands twice", axis);
    seen[axis] = true;
    y.shape[axis] = op.sizes[i];
  }
  return {y};
}

}  // namespace lathe
