// Products with weights of a few bits, against numbers worked out by hand.
#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

MatMulNBits blocks_of(int64_t block) {
  MatMulNBits op;
  op.block = block;
  return op;
}

TEST(ReferenceMatMulNBits, ScalesEachBlock) {
  const Tensor a = floats({1, 3}, {1, 10, 100});
  const Tensor q = integers(DType::i4, {2, 3}, {-8, 7, 1, 0, 2, 3});  // rows begin in the middle of a byte
  const Tensor scales = floats({2, 2}, {1, 2, 0.5f, 4});
  expect_values(run1(blocks_of(2), {a, q, scales}), {1, 2}, {-8 + 70 + 200, 10 + 1200});
}

TEST(ReferenceMatMulNBits, TakesTheMiddleOrTheZerosOff) {
  const Tensor a = floats({2}, {1, 1}), scale = floats({1, 1}, {2});
  expect_values(run1(blocks_of(2), {a, integers(DType::u4, {1, 2}, {15, 0}), scale}), {1}, {2 * (7 - 8)});
  expect_values(run1(blocks_of(2), {a, integers(DType::u8, {1, 2}, {255, 128}), scale}), {1}, {254});
  expect_values(run1(blocks_of(2), {a, integers(DType::u2, {1, 2}, {3, 0}), scale}), {1}, {-2});
  const Tensor q = integers(DType::u4, {1, 2}, {15, 0});
  expect_values(run1(blocks_of(2), {a, q, scale, integers(DType::u4, {1, 1}, {3})}), {1}, {2 * (12 - 3)});
  expect_values(run1(blocks_of(2), {a, q, scale, floats({1, 1}, {7.25f})}), {1}, {1});
  const Tensor bytes = integers(DType::i8, {1, 2}, {-128, 127});
  expect_values(run1(blocks_of(2), {a, bytes, scale, integers(DType::i8, {1, 1}, {-5})}), {1}, {18});
}

TEST(ReferenceMatMulNBits, GivesTheTypeOfAAndItsRows) {
  Tensor a(DType::bf16, {2, 0, 4});
  const Tensor q = integers(DType::i8, {3, 4}, std::vector<int64_t>(12, 1));
  const Tensor y = run1(blocks_of(4), {a, q, floats({3, 1}, {1, 1, 1})});
  EXPECT_EQ(y.dtype(), DType::bf16);
  EXPECT_EQ(y.dims(), (Sizes{2, 0, 3}));
  const Tensor none = run1(blocks_of(4), {floats({2, 0}, {}), integers(DType::i8, {1, 0}, {}), floats({1, 0}, {})});
  expect_values(none, {2, 1}, {0, 0});
}

TEST(ReferenceMatMulNBits, EpilogueFollowsTheProduct) {
  MatMulNBits op = blocks_of(2);
  op.epilogue.finish(
      op.epilogue.binary(MapOp::sub, op.epilogue.input(1, DType::f32), op.epilogue.input(0, DType::f32)));
  const std::vector<RefValue> inputs = {floats({1, 2}, {1, 1}), integers(DType::i4, {1, 2}, {1, 2}),
                                        floats({1, 1}, {1}), RefValue(), floats({1}, {10})};
  std::vector<const RefValue*> operands;
  for (const RefValue& input : inputs) operands.push_back(&input);
  operands[3] = nullptr;
  SymbolBindings symbols;
  expect_values(std::get<Tensor>(evaluate_op(op, operands, 1, symbols)[0]), {1, 1}, {7});
}

TEST(ReferenceMatMulNBits, NamesTheSizesThatDoNotFit) {
  const Tensor q = integers(DType::i4, {1, 4}, {1, 2, 3, 4});
  expect_error(ErrorCode::invalid_argument, "[1, 3] times the transpose of [1, 4]", [&] {
    run1(blocks_of(4), {counting({1, 3}), q, counting({1, 1})});
  });
  expect_error(ErrorCode::invalid_argument, "operand 2 has shape [1, 1], expected [1, 2]", [&] {
    run1(blocks_of(2), {counting({1, 4}), q, counting({1, 1})});
  });
}

}  // namespace
}  // namespace lathe
