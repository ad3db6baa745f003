// Inference for constant, dims and bind.
#include "graph/ops/infer_ops.h"

namespace lathe {

Types infer_op(const Constant& op, InferContext& c) {
  c.expect_inputs(0, 0);
  return {Type::tensor(op.value.dtype(), Shape(op.value.dims().begin(), op.value.dims().end()))};
}

Types infer_op(const Dims& op, InferContext& c) {
  c.expect_inputs(0, 0);
  if (op.scalar && op.values.size() != 1) c.fail("a scalar has one dimension, {} are given", op.values.size());
  return {Type::tensor(DType::i64, op.scalar ? Shape{} : Shape{static_cast<int64_t>(op.values.size())})};
}

Types infer_op(const Bind& op, InferContext& c) {
  c.expect_inputs(1, 1);
  const Type& x = c.tensor(0);
  if (!is_integer(x.dtype)) c.fail("symbols are bound to integers");
  if (x.ranked && never_equal(product(x.shape), static_cast<int64_t>(op.symbols.size())))
    c.fail("{} symbols cannot be bound to {} elements", op.symbols.size(), product(x.shape).to_string());
  for (const std::string& symbol : op.symbols)
    if (symbol.empty()) c.fail("a symbol has no name");
  return {};
}

}  // namespace lathe
