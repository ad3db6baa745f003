// Inference for grouped_matmul.
#include "graph/ops/infer_ops.h"

namespace lathe {
namespace {

bool is_wide(DType type) { return type == DType::f32 || is_half(type); }

// Operands `first` and up are those of a matrix; returns its sizes {n, k}, or none where a rank is not known.
Shape wide_sizes(const GroupedMatMul& op, const InferContext& c, size_t first) {
  const DType a = c.tensor(0).dtype, b = c.tensor(first).dtype;
  if (b != a && !(a == DType::f32 && is_half(b))) c.fail("operand {} must have the type of operand 0", first);
  c.expect_rank(first, 2);
  if (!c.tensor(first).ranked) return {};
  const Shape& shape = c.tensor(first).shape;
  return op.trans_b ? shape : Shape{shape[1], shape[0]};
}

Shape narrow_sizes(const GroupedMatMul& op, const InferContext& c, size_t first) {
  const size_t scales = first + 1, zeros = first + 2, order = first + 3;
  const Type& q = c.tensor(first);
  if (!is_integer(q.dtype) || bit_width(q.dtype) > 8) c.fail("weights must be integers of 8 bits or fewer");
  if (!is_wide(c.tensor(scales).dtype)) c.fail("operand {} must hold f32, f16 or bf16", scales);
  if (c.has(zeros) && c.tensor(zeros).dtype != q.dtype && c.tensor(zeros).dtype != c.tensor(scales).dtype)
    c.fail("zeros must have the type of the weights or that of the scales");
  for (const size_t i : {first, scales, zeros})
    if (c.has(i)) c.expect_rank(i, 2);
  if (c.has(order)) {
    c.expect_dtype(order, DType::i32);
    c.expect_rank(order, 1);
  }
  if (!q.ranked) return {};
  for (const size_t i : {scales, zeros}) {
    if (!c.has(i) || !c.tensor(i).ranked) continue;
    c.same(c.tensor(i).shape[0], q.shape[0], "rows of weights");
    c.same(c.tensor(i).shape[1], ceil_div(q.shape[1], Dim(op.block)), "blocks of a row");
  }
  if (c.has(order) && c.tensor(order).ranked) c.same(c.tensor(order).shape[0], q.shape[1], "columns in order");
  return q.shape;
}

// All matrices are of the first one's types.
void check_alike(const InferContext& c, size_t each) {
  for (size_t i = kGroupedOperands + each; i < c.count(); ++i) {
    const size_t first = kGroupedOperands + (i - kGroupedOperands) % each;
    if (c.has(i) != c.has(first) || (c.has(i) && c.tensor(i).dtype != c.tensor(first).dtype))
      c.fail("operands {} and {} must be of the same type", first, i);
  }
}

}  // namespace

Types infer_op(const GroupedMatMul& op, InferContext& c) {
  if (op.block < 0) c.fail("blocks of {} columns", op.block);
  const size_t each = operands_of_group(op);
  c.expect_inputs(kGroupedOperands + each, SIZE_MAX);
  if ((c.count() - kGroupedOperands) % each != 0) c.fail("matrices have {} operands each", each);
  const Type &a = c.tensor(0), &chosen = c.index_tensor(1);
  if (!is_wide(a.dtype)) c.fail("operand 0 must hold f32, f16 or bf16");
  c.expect_rank(0, 3);
  c.expect_rank(1, 2);
  check_alike(c, each);
  if (!a.ranked || !chosen.ranked) return {Type::unranked(a.dtype)};
  Shape y = {c.same(a.shape[0], chosen.shape[0], "tokens"), chosen.shape[1], Dim(0)};
  if (a.shape[1] != Dim(1)) y[1] = c.same(a.shape[1], y[1], "choices of a token");
  for (size_t first = kGroupedOperands; first < c.count(); first += each) {
    const Shape sizes = op.block == 0 ? wide_sizes(op, c, first) : narrow_sizes(op, c, first);
    if (sizes.empty()) return {Type::unranked(a.dtype)};
    y[2] = first == kGroupedOperands ? sizes[0] : c.same(y[2], sizes[0], "columns of the result");
    c.same(a.shape[2], sizes[1], "inner sizes");
  }
  return {Type::tensor(a.dtype, std::move(y))};
}

}  // namespace lathe
