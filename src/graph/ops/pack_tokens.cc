// Inference for pack_tokens.
#include "graph/ops/infer_ops.h"
#include "graph/token_packing.h"

namespace lathe {

Types infer_op(const PackTokens& op, InferContext& c) {
  c.expect_inputs(1, 1);
  c.expect_outputs(3);
  if (op.kept != 0 && op.kept != 1) c.fail("kept = {} is neither 0 nor 1", op.kept);
  const Type& mask = c.tensor(0);
  if (!can_be_mask(mask.dtype)) c.fail("a mask holds integers, truth values or f32");
  c.expect_rank(0, 2);
  const Dim batch = mask.ranked ? mask.shape[0] : c.fresh(), length = mask.ranked ? mask.shape[1] : c.fresh();
  return {Type::tensor(DType::i32, {c.fresh()}), Type::tensor(DType::i32, {batch + 2}),
          Type::tensor(DType::i32, {batch, length})};
}

}  // namespace lathe
