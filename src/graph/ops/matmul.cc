// Inference for matmul.
#include "graph/ops/infer_ops.h"

namespace lathe {

Types infer_op(const MatMul& op, InferContext& c) {
  c.expect_inputs(2, SIZE_MAX);
  const Type &a = c.tensor(0), &b = c.tensor(1);
  const DType product = product_dtype(c, 0, 1);
  if (!a.ranked || !b.ranked) {
    if (!op.epilogue.empty()) check_program(c, op.epilogue, {product}, 2, c.count());
    return {Type::unranked(op.epilogue.empty() ? product : op.epilogue.result_type())};
  }
  if (a.rank() < 2 || b.rank() < 2) c.fail("operands need two axes at least");
  const auto matrix_axis = [](const Type& type, bool last) -> const Dim& {
    return type.shape[type.shape.size() - (last ? 1 : 2)];
  };
  c.same(matrix_axis(a, !op.trans_a), matrix_axis(b, op.trans_b), "inner sizes");
  Shape shape = c.broadcast(Shape(a.shape.begin(), a.shape.end() - 2), Shape(b.shape.begin(), b.shape.end() - 2));
  shape.push_back(matrix_axis(a, op.trans_a));
  shape.push_back(matrix_axis(b, !op.trans_b));
  const DType dtype = check_epilogue(c, op.epilogue, product, shape, 2);
  return {Type::tensor(dtype, std::move(shape))};
}

}  // namespace lathe
