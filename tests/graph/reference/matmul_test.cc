#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

TEST(ReferenceMatMul, MultipliesAndTransposes) {
  const Tensor a = counting({2, 3}), b = floats({3, 2}, {1, 0, 0, 1, 1, 1});
  expect_values(run1(MatMul{}, {a, b}), {2, 2}, {4, 5, 10, 11});
  expect_values(run1(MatMul{true, false, {}}, {floats({3, 2}, {1, 4, 2, 5, 3, 6}), b}), {2, 2}, {4, 5, 10, 11});
  expect_values(run1(MatMul{false, true, {}}, {a, floats({2, 3}, {1, 0, 1, 0, 1, 1})}), {2, 2}, {4, 5, 10, 11});
}

TEST(ReferenceMatMul, BroadcastsLeadingAxes) {
  const Tensor y = run1(MatMul{}, {counting({2, 1, 1, 2}), counting({3, 2, 1})});
  expect_values(y, {2, 3, 1, 1}, {5, 11, 17, 11, 25, 39});
}

TEST(ReferenceMatMul, AnEmptyInnerAxisGivesZeros) {
  expect_values(run1(MatMul{}, {Tensor(DType::f32, {2, 0}), Tensor(DType::f32, {0, 2})}), {2, 2}, {0, 0, 0, 0});
  EXPECT_EQ(run1(MatMul{}, {Tensor(DType::f32, {0, 3}), counting({3, 2})}).dims(), (Sizes{0, 2}));
}

TEST(ReferenceMatMul, NanStaysAndIsNotSkipped) {
  expect_values(run1(MatMul{}, {floats({1, 2}, {0, 1}), floats({2, 1}, {kInf, 1})}), {1, 1}, {kNan});
}

TEST(ReferenceMatMul, BytesAccumulateInI32) {
  Tensor a(DType::u8, {1, 200}), b(DType::i8, {200, 1});
  for (int64_t i = 0; i < 200; ++i) a.write_int(i, 255), b.write_int(i, -128);
  EXPECT_EQ(run1(MatMul{}, {a, b}), Tensor::of<int32_t>({1, 1}, {-255 * 128 * 200}));
}

TEST(ReferenceMatMul, WidensHalfWeights) {
  for (const DType type : {DType::f16, DType::bf16}) {
    Tensor b(type, {2, 1});
    b.write_double(0, 0.5), b.write_double(1, -4);
    const Tensor y = run1(MatMul{}, {floats({2, 2}, {1.0009765625f, 3, 70000, 1}), b});
    EXPECT_EQ(y.dtype(), DType::f32);
    expect_values(y, {2, 1}, {0.50048828125 - 12, 34996});
  }
}

TEST(ReferenceMatMul, AccumulatesInDouble) {
  const Tensor y = run1(MatMul{}, {floats({1, 3}, {1e8f, 1, -1e8f}), floats({3, 1}, {1, 1, 1})});
  expect_values(y, {1, 1}, {1});
}

TEST(ReferenceMatMul, EpilogueSeesTheProductAndItsExtras) {
  MapProgram p;  // relu(product + bias) as f16
  const int sum = p.binary(MapOp::add, p.input(0, DType::f32), p.input(1, DType::f32));
  p.finish(p.cast(p.unary(MapOp::relu, sum), DType::f16));
  const Tensor y =
      run1(MatMul{false, false, p}, {counting({2, 1}), floats({1, 2}, {1, -1}), floats({2}, {0.5f, 1.5f})});
  EXPECT_EQ(y.dtype(), DType::f16);
  expect_values(y, {2, 2}, {1.5, 0.5, 2.5, 0});
}

TEST(ReferenceMatMul, NamesTheSizesThatDoNotFit) {
  expect_error(ErrorCode::invalid_argument, "[2, 3] times [2, 3]", [] {
    run1(MatMul{}, {counting({2, 3}), counting({2, 3})});
  });
  expect_error(ErrorCode::invalid_model, "f32 and f64", [] {
    run1(MatMul{}, {counting({1, 1}), Tensor(DType::f64, {1, 1})});
  });
}

}  // namespace
}  // namespace lathe
