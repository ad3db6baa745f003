// Inference for dynamic_quantize.
#include "graph/ops/infer_ops.h"

namespace lathe {

Types infer_op(const DynamicQuantize& op, InferContext& c) {
  c.expect_inputs(1, 1);
  c.expect_outputs(3);
  const Type& x = c.float_tensor(0);
  const DType bytes = op.floating ? DType::f8e4m3 : op.symmetric ? DType::i8 : DType::u8;
  if (!x.ranked) return {Type::unranked(bytes), Type::unranked(DType::f32), Type::unranked(bytes)};
  if (x.rank() > 0 || op.axis != 0) c.axis(op.axis, x.rank());
  Shape parameters = x.shape;
  for (auto axis = static_cast<size_t>(op.axis); axis < parameters.size(); ++axis) parameters[axis] = Dim(1);
  return {Type::tensor(bytes, x.shape), Type::tensor(DType::f32, parameters), Type::tensor(bytes, parameters)};
}

}  // namespace lathe
