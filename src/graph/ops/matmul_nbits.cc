// Inference for matmul_nbits.
#include "graph/ops/infer_ops.h"

namespace lathe {
namespace {

void check_types(const InferContext& c) {
  const auto is_wide = [](DType type) { return type == DType::f32 || is_half(type); };
  for (const size_t i : {size_t{0}, size_t{2}})
    if (!is_wide(c.tensor(i).dtype)) c.fail("operand {} must hold f32, f16 or bf16", i);
  const DType q = c.tensor(1).dtype;
  if (!is_integer(q) || bit_width(q) > 8) c.fail("weights must be integers of 8 bits or fewer");
  if (c.has(3) && c.tensor(3).dtype != q && c.tensor(3).dtype != c.tensor(2).dtype)
    c.fail("zeros must have the type of the weights or that of the scales");
}

}  // namespace

Types infer_op(const MatMulNBits& op, InferContext& c) {
  c.expect_inputs(3, SIZE_MAX);
  check_types(c);
  if (op.block < 1) c.fail("blocks of {} columns", op.block);
  const Type &a = c.tensor(0), &q = c.tensor(1);
  for (size_t i = 1; i < std::min(c.count(), kNBitsOperands); ++i)
    if (c.has(i)) c.expect_rank(i, 2);
  if (!a.ranked || !q.ranked) {
    if (!op.epilogue.empty()) check_program(c, op.epilogue, {a.dtype}, kNBitsOperands, c.count());
    return {Type::unranked(op.epilogue.empty() ? a.dtype : op.epilogue.result_type())};
  }
  if (a.rank() < 1) c.fail("operand 0 needs an axis at least");
  const Dim k = c.same(a.shape.back(), q.shape[1], "inner sizes");
  for (size_t i = 2; i < std::min(c.count(), kNBitsOperands); ++i) {
    if (!c.has(i) || !c.tensor(i).ranked) continue;
    c.same(c.tensor(i).shape[0], q.shape[0], "rows of weights");
    c.same(c.tensor(i).shape[1], ceil_div(k, Dim(op.block)), "blocks of a row");
  }
  Shape shape = a.shape;
  shape.back() = q.shape[0];
  const DType dtype = check_epilogue(c, op.epilogue, a.dtype, shape, kNBitsOperands);
  return {Type::tensor(dtype, std::move(shape))};
}

}  // namespace lathe
