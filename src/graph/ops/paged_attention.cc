// Inference for attention over a paged cache.
#include "graph/ops/paged_attention.h"

#include "graph/ops/infer_ops.h"
#include "graph/paged_cache.h"

namespace lathe {
namespace {

void check_fields(const PagedAttention& op, const InferContext& c) {
  if (op.heads < 1 || op.kv_heads < 1 || op.heads % op.kv_heads != 0)
    c.fail("{} query heads cannot share {} key heads", op.heads, op.kv_heads);
  if (op.head_dim < 1 || op.value_dim < 1) c.fail("heads of {} and {} features", op.head_dim, op.value_dim);
  if (op.block_size < 1) c.fail("blocks of {} tokens", op.block_size);
  if (op.window < 0 || !(op.softcap >= 0)) c.fail("window = {} or softcap = {} is negative", op.window, op.softcap);
  if (op.chunked && op.window == 0) c.fail("chunks of 0 keys");
}

// Of an operand whose number of axes must be known.
const Shape& shape(const InferContext& c, size_t operand, int64_t rank) {
  const Type& type = c.tensor(operand);
  if (!type.ranked || type.rank() != rank) c.fail("operand {} must have {} axes", operand, rank);
  return type.shape;
}

const Shape& integers(const InferContext& c, size_t operand, int64_t rank) {
  c.expect_dtype(operand, DType::i32);
  return shape(c, operand, rank);
}

// Of queries and keys that stand in one row, each at its own place.
void check_positional(const PagedAttention& op, const InferContext& c, const Dim& sequences) {
  if (c.has(8)) c.same(integers(c, 8, 1)[0], sequences, "sequences");
  if (c.has(9)) {
    c.expect_dtype(9, DType::f32);
    c.same(shape(c, 9, 1)[0], op.heads, "slopes");
  }
  if (c.has(10)) {
    c.expect_dtype(10, DType::f32);
    const Shape& biases = shape(c, 10, 2);
    c.same(biases[0], op.heads, "biases");
    if (!biases[1].is_constant() || biases[1].value() < 1) c.fail("biases for {} distances", biases[1].to_string());
  }
  if (c.has(11) && (c.has(8) || c.has(9) || c.has(10) || op.window > 0))
    c.fail("keys of another text have no place that prefixes, slopes, biases or windows could count from");
}

void check_cache(const PagedAttention& op, const InferContext& c, size_t operand, int64_t features) {
  const DType type = c.tensor(operand).dtype;
  const CacheRows rows{type, features, op.block_size};
  if (type != DType::f32 && !is_half(type) && type != DType::i8 && type != DType::f8e4m3)
    c.fail("operand {}: a cache holds f32, f16, bf16, i8 or f8e4m3", operand);
  if (rows.scaled() && op.block_size * features % int64_t{sizeof(float)} != 0)
    c.fail("{} rows of {} bytes leave no place for scales, which are aligned to 4", op.block_size, features);
  const Shape& cache = shape(c, operand, 4);
  c.same(cache[1], op.kv_heads, "heads of a cache");
  c.same(cache[2], op.block_size, "tokens of a block");
  c.same(cache[3], rows.columns(), "features of a cached head");
}

}  // namespace

Types infer_op(const PagedAttention& op, InferContext& c) {
  c.expect_inputs(8, 13);
  check_fields(op, c);
  const DType dtype = c.float_tensor(0).dtype;
  c.expect_dtype(1, dtype);
  c.expect_dtype(2, dtype);
  const Shape &q = shape(c, 0, 2), &k = shape(c, 1, 2), &v = shape(c, 2, 2);
  check_head_columns(c, {0, op.heads, op.head_dim, op.q_offset, op.q_stride}, q[1]);
  check_head_columns(c, {1, op.kv_heads, op.head_dim, op.k_offset, op.k_stride}, k[1]);
  check_head_columns(c, {2, op.kv_heads, op.value_dim, op.v_offset, op.v_stride}, v[1]);
  const Dim keys = c.same(k[0], v[0], "new keys");
  const Dim tokens = c.has(11) ? q[0] : c.same(q[0], keys, "tokens");

  check_cache(op, c, 3, op.head_dim);
  check_cache(op, c, 4, op.value_dim);
  c.expect_dtype(4, c.tensor(3).dtype);
  c.same(c.tensor(3).shape[0], c.tensor(4).shape[0], "blocks of the caches");

  const Dim sequences = c.same(integers(c, 6, 1)[0], integers(c, 7, 2)[0], "sequences");
  c.same(integers(c, 5, 1)[0], sequences + 1, "starts of sequences, and the end of the last");
  if (c.has(11)) c.same(integers(c, 11, 1)[0], sequences + 1, "starts of new keys, and the end of the last");
  check_positional(op, c, sequences);
  if (c.has(12)) {
    c.expect_dtype(12, DType::f32);
    c.same(shape(c, 12, 1)[0], op.heads, "sinks");
  }
  return {Type::tensor(dtype, {tokens, Dim(op.heads) * op.value_dim})};
}

}  // namespace lathe
