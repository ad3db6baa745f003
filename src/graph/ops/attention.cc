// Inference for attention and rotary.

#include "graph/ops/infer_ops.h"

namespace lathe {
namespace {

// One of q, k, v: where its heads lie.
struct HeadLayout {
  HeadOrder order;
  HeadColumns columns;
};

struct BatchAndLength {
  Dim batch, length;
};

BatchAndLength check_heads(const InferContext& c, const HeadLayout& layout) {
  const auto& [order, columns] = layout;
  const Shape& shape = c.tensor(columns.operand).shape;
  const bool in_columns = order == HeadOrder::token_major || order == HeadOrder::seq_major;
  c.expect_rank(columns.operand, in_columns ? 3 : 4);
  if (in_columns) {
    check_head_columns(c, columns, shape[2]);
    return order == HeadOrder::token_major ? BatchAndLength{shape[0], shape[1]} : BatchAndLength{shape[1], shape[0]};
  }
  const bool transposed = order == HeadOrder::transposed;
  c.same(shape[1], columns.heads, "heads of an operand");
  c.same(shape[transposed ? 2 : 3], columns.dim, "features of a head");
  return {shape[0], shape[transposed ? 3 : 2]};
}

void check_fields(const Attention& op, const InferContext& c) {
  if (op.heads < 1 || op.kv_heads < 1 || op.heads % op.kv_heads != 0)
    c.fail("{} query heads cannot share {} key heads", op.heads, op.kv_heads);
  if (op.head_dim < 1 || op.value_dim < 1) c.fail("heads of {} and {} features", op.head_dim, op.value_dim);
  if (op.q_order == HeadOrder::transposed || op.output_order == HeadOrder::transposed)
    c.fail("only keys and values may be transposed");
  if (!op.packed) return;
  for (const HeadOrder order : {op.q_order, op.k_order, op.v_order, op.output_order})
    if (order != HeadOrder::token_major) c.fail("packed tokens must be token_major");
  if (op.causal) c.fail("packed tokens cannot be causal");
  if (!op.longest.is_nonnegative()) c.fail("sequences of at most {} tokens", op.longest.to_string());
}

Shape output_shape(const Attention& op, const Dim& batch, const Dim& queries) {
  const Dim columns = Dim(op.heads) * op.value_dim;
  switch (op.output_order) {
    case HeadOrder::seq_major: return {queries, batch, columns};
    case HeadOrder::head_major: return {batch, op.heads, queries, op.value_dim};
    default: return {batch, queries, columns};
  }
}

}  // namespace

void check_head_columns(const InferContext& c, const HeadColumns& layout, const Dim& columns) {
  if (layout.offset < 0 || (layout.heads > 1 && layout.stride < layout.dim))
    c.fail("operand {}: heads of {} columns cannot lie {} apart from column {}", layout.operand, layout.dim,
           layout.stride, layout.offset);
  const Dim end = Dim(layout.heads - 1) * layout.stride + layout.offset + layout.dim;
  if (columns.is_constant() && columns.value() < end.value())
    c.fail("operand {} has {} columns, its heads reach to column {}", layout.operand, columns.value(), end.value());
}

Types infer_op(const Attention& op, InferContext& c) {
  const size_t extras = first_extra(op);
  c.expect_inputs(extras, SIZE_MAX);
  const DType dtype = c.float_tensor(0).dtype;
  c.expect_dtype(1, dtype);
  c.expect_dtype(2, dtype);
  check_fields(op, c);
  if (!op.score.empty()) {
    check_program(c, op.score, {dtype}, extras, c.count());
    if (!is_float(op.score.result_type())) c.fail("the score must be a floating-point number");
  }
  if (!c.tensor(0).ranked || !c.tensor(1).ranked || !c.tensor(2).ranked) return {Type::unranked(dtype)};
  const auto q = check_heads(c, {op.q_order, {0, op.heads, op.head_dim, op.q_offset, op.q_stride}});
  const auto k = check_heads(c, {op.k_order, {1, op.kv_heads, op.head_dim, op.k_offset, op.k_stride}});
  const auto v = check_heads(c, {op.v_order, {2, op.kv_heads, op.value_dim, op.v_offset, op.v_stride}});
  const Dim batch = c.same(c.same(q.batch, k.batch, "batch sizes"), v.batch, "batch sizes");
  const Dim keys = c.same(k.length, v.length, "key and value lengths");
  if (op.packed) {
    c.expect_dtype(3, DType::i32);
    c.expect_rank(3, 1);
    c.same(batch, 1, "batch size of packed tokens");
    c.same(q.length, keys, "packed queries and keys");
  }
  check_epilogue(c, op.score, dtype, {batch, op.heads, q.length, keys}, extras);
  return {Type::tensor(dtype, output_shape(op, batch, q.length))};
}

Types infer_op(const Rotary& op, InferContext& c) {
  c.expect_inputs(3, 3);
  const Type& x = c.float_tensor(0);
  if (op.rotary_dim < 2 || op.rotary_dim % 2 != 0) c.fail("rotary_dim = {} is not even and positive", op.rotary_dim);
  for (size_t i = 1; i < 3; ++i)
    if (c.tensor(i).dtype != DType::f32) c.expect_dtype(i, x.dtype);
  if (!x.ranked) return {x};
  if (x.rank() < 1) c.fail("a scalar cannot be rotated");
  if (x.shape.back().is_constant() && x.shape.back().value() < op.rotary_dim)
    c.fail("{} features cannot have {} rotated", x.shape.back().value(), op.rotary_dim);
  Shape angles = x.shape;
  angles.back() = op.rotary_dim / 2;
  for (size_t i = 1; i < 3; ++i) {
    const Type& table = c.tensor(i);
    c.expect_broadcasts_to(i, angles);
    if (!table.ranked) continue;
    if (table.shape.empty()) c.fail("operand {} needs an axis of {} columns", i, op.rotary_dim / 2);
    c.same(table.shape.back(), angles.back(), "columns of the angle tables");
  }
  return {x};
}

}  // namespace lathe
