// Inference for resize.
#include <algorithm>

#include "graph/ops/infer_ops.h"

namespace lathe {

Types infer_op(const Resize& op, InferContext& c) {
  c.expect_inputs(1, 1);
  const Type& x = c.tensor(0);
  if (op.sizes.size() != op.axes.size()) c.fail("{} sizes for {} axes", op.sizes.size(), op.axes.size());
  if (!op.scales.empty() && op.scales.size() != op.axes.size())
    c.fail("{} scales for {} axes", op.scales.size(), op.axes.size());
  if (op.coordinates == ResizeCoordinates::tf_crop_and_resize && op.roi.size() != 2 * op.axes.size())
    c.fail("a region of interest needs {} numbers, {} are given", 2 * op.axes.size(), op.roi.size());
  if (!x.ranked) return {x};
  Type y = x;
  for (size_t i = 0; i < op.axes.size(); ++i) {
    if (std::count(op.axes.begin(), op.axes.end(), op.axes[i]) > 1) c.fail("axis {} stands twice", op.axes[i]);
    if (op.sizes[i].is_constant() && op.sizes[i].value() < 0) c.fail("size {} is negative", op.sizes[i].value());
    y.shape[c.axis(op.axes[i], x.rank())] = op.sizes[i];
  }
  return {y};
}

}  // namespace lathe
