// Inference for rnn.
#include <limits>

#include "graph/ops/infer_ops.h"

namespace lathe {
namespace {

struct Sizes {
  int64_t gates, outputs, activations;
};

Sizes sizes_of(RnnKind kind) {
  switch (kind) {
    case RnnKind::rnn: return {1, 2, 1};
    case RnnKind::gru: return {3, 2, 2};
    case RnnKind::lstm: return {4, 3, 3};
  }
  return {};
}

void expect_shape(const InferContext& c, size_t i, const Shape& shape, std::string_view what) {
  if (!c.has(i)) return;
  c.expect_rank(i, static_cast<int64_t>(shape.size()));
  if (c.tensor(i).ranked) c.same(c.tensor(i).shape, shape, what);
}

void check_dtypes(const InferContext& c, DType dtype) {
  for (size_t i = 1; i < c.count(); ++i)
    if (c.has(i) && i != 4) c.expect_dtype(i, dtype);
  if (c.has(4)) c.index_tensor(4);
}

}  // namespace

Types infer_op(const Rnn& op, InferContext& c) {
  const Sizes sizes = sizes_of(op.kind);
  const bool lstm = op.kind == RnnKind::lstm;
  c.expect_inputs(3, lstm ? 8 : 6);
  c.expect_outputs(static_cast<size_t>(sizes.outputs));
  const Type& x = c.float_tensor(0);
  check_dtypes(c, x.dtype);
  const int64_t directions = op.direction == RnnDirection::bidirectional ? 2 : 1;
  if (op.hidden < 1 || op.hidden > std::numeric_limits<int32_t>::max()) c.fail("hidden = {}", op.hidden);
  const auto functions = static_cast<size_t>(directions * sizes.activations);
  if (op.activations.size() != functions || op.alpha.size() != functions || op.beta.size() != functions)
    c.fail("needs {} activations, each with alpha and beta", functions);
  c.expect_rank(0, 3);
  if (!x.ranked) return Types(c.num_outputs(), Type::unranked(x.dtype));
  const Dim &length = x.shape[0], &batch = x.shape[1], &width = x.shape[2];
  const int64_t rows = sizes.gates * op.hidden;
  expect_shape(c, 1, {directions, rows, width}, "input weights");
  expect_shape(c, 2, {directions, rows, op.hidden}, "recurrent weights");
  expect_shape(c, 3, {directions, 2 * rows}, "bias");
  expect_shape(c, 4, {batch}, "sequence lengths");
  expect_shape(c, 5, {directions, batch, op.hidden}, "initial hidden state");
  expect_shape(c, 6, {directions, batch, op.hidden}, "initial cell state");
  expect_shape(c, 7, {directions, 3 * op.hidden}, "peephole weights");
  Types types(c.num_outputs(), Type::tensor(x.dtype, {directions, batch, op.hidden}));
  types[0].shape = {length, directions, batch, op.hidden};
  return types;
}

}  // namespace lathe
