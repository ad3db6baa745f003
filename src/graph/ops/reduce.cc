// Inference for reduce, arg_reduce and cumulative.
#include "graph/ops/infer_ops.h"

namespace lathe {
namespace {

Shape reduced(const InferContext& c, const Shape& shape, const std::vector<int64_t>& axes, bool keep_dims) {
  Shape result;
  size_t next = 0;
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool drop = next < axes.size() && axes[next] == static_cast<int64_t>(i);
    if (!drop)
      result.push_back(shape[i]);
    else if (keep_dims)
      result.push_back(1);
    if (drop) ++next;
  }
  if (next != axes.size()) c.fail("the axes must be sorted, distinct and below {}", shape.size());
  return result;
}

}  // namespace

Types infer_op(const Reduce& op, InferContext& c) {
  c.expect_inputs(1, 1);
  const Type& x = c.tensor(0);
  if (x.dtype == DType::string) c.fail("strings cannot be reduced");
  if (!x.ranked) return {Type::unranked(x.dtype)};
  return {Type::tensor(x.dtype, reduced(c, x.shape, op.axes, op.keep_dims))};
}

Types infer_op(const ArgReduce& op, InferContext& c) {
  c.expect_inputs(1, 1);
  const Type& x = c.tensor(0);
  if (!x.ranked) return {Type::unranked(DType::i64)};
  c.axis(op.axis, x.rank());
  return {Type::tensor(DType::i64, reduced(c, x.shape, {op.axis}, op.keep_dims))};
}

Types infer_op(const Cumulative& op, InferContext& c) {
  c.expect_inputs(1, 1);
  const Type& x = c.tensor(0);
  if (x.ranked) c.axis(op.axis, x.rank());
  return {x};
}

}  // namespace lathe
