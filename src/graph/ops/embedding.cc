// Inference for embedding.
#include <algorithm>

#include "graph/ops/infer_ops.h"
#include "graph/token_packing.h"

namespace lathe {

Types infer_op(const Embedding& op, InferContext& c) {
  if (op.num_tables < 1 || op.num_tables > static_cast<int64_t>(c.count())) c.fail("{} tables", op.num_tables);
  const size_t scale = 2 * static_cast<size_t>(op.num_tables);
  const size_t picked = picked_operand(op);
  c.expect_inputs(scale + 1, picked + 1);
  const DType dtype = c.float_tensor(scale).dtype;
  Shape shape;
  Dim width;
  bool ranked = true;
  for (size_t i = 0; i < scale; i += 2) {
    const Type &ids = c.index_tensor(i), &table = c.tensor(i + 1);
    if (dtype != DType::f32 || !is_half(table.dtype)) c.expect_dtype(i + 1, dtype);
    c.expect_rank(i + 1, 2);
    ranked = ranked && ids.ranked && table.ranked;
    if (!ranked) continue;
    shape = c.broadcast(shape, ids.shape);
    width = i == 0 ? table.shape[1] : c.same(width, table.shape[1], "table widths");
  }
  for (size_t i = scale; i < std::min(c.count(), picked); ++i) {
    if (!c.has(i) && i > scale) continue;
    const Type& parameter = c.tensor(i);
    c.expect_dtype(i, dtype);
    c.expect_rank(i, 1);
    if (ranked && parameter.ranked) c.same(width, parameter.shape[0], "width and parameter size");
  }
  if (c.has(picked)) {
    c.expect_dtype(picked, DType::i32);
    c.expect_rank(picked, 1);
    ranked = ranked && c.tensor(picked).ranked;
    if (ranked) shape = c.tensor(picked).shape;
  }
  if (!ranked) return {Type::unranked(dtype)};
  shape.push_back(width);
  return {Type::tensor(dtype, std::move(shape))};
}

}  // namespace lathe
