// Inference for softmax.
#include "graph/ops/infer_ops.h"

namespace lathe {

Types infer_op(const Softmax& op, InferContext& c) {
  c.expect_inputs(1, 1);
  const Type& x = c.float_tensor(0);
  if (x.ranked) c.axis(op.axis, x.rank());
  return {x};
}

}  // namespace lathe
