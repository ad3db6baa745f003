// Norm, group_norm, softmax and embedding.
#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

TEST(ReferenceNorm, LayerAndRms) {
  const Tensor x = floats({2, 2}, {1, 3, -2, 2}), scale = floats({2}, {2, 10}), bias = floats({2}, {0, 1});
  expect_values(run1(Norm{NormKind::layer, 1, 0, 1, {}}, {x, scale, bias}), {2, 2}, {-2, 11, -2, 11});
  expect_values(run1(Norm{NormKind::rms, 1, 0, 1, {}}, {x, scale}), {2, 2},
                {2 / std::sqrt(5.0), 30 / std::sqrt(5.0), -2, 10});
  expect_values(run1(Norm{NormKind::layer, 0, 3, 1, {}}, {floats({4}, {1, 3, 1, 3})}), {4}, {-0.5, 0.5, -0.5, 0.5});
}

TEST(ReferenceNorm, PrologueAddsAResidualAndReturnsIt) {
  const Norm op{NormKind::layer, 1, 0, 2, binary_program(MapOp::add, DType::f32)};
  const auto results = run(op, {floats({1, 2}, {1, 2}), floats({1, 2}, {4, 9}), floats({2}, {1, 1})}, 2);
  expect_values(std::get<Tensor>(results[0]), {1, 2}, {-1, 1});
  expect_values(std::get<Tensor>(results[1]), {1, 2}, {5, 11});
}

TEST(ReferenceNorm, StatisticsOfHalfPrecisionDoNotOverflow) {
  Tensor x(DType::f16, {1, 2});
  x.write_double(0, 60000), x.write_double(1, -60000);
  expect_values(run1(Norm{NormKind::layer, 1, 1e-5, 1, {}}, {x}), {1, 2}, {1, -1});
}

TEST(ReferenceNorm, GroupsAndInstances) {
  const Tensor x = floats({1, 2, 2}, {1, 3, 10, 30}), scale = floats({2}, {1, 2}), bias = floats({2}, {0, 5});
  expect_values(run1(GroupNorm{0, 0}, {x, scale, bias}), {1, 2, 2}, {-1, 1, 3, 7});
  const double mean = 11, deviation = std::sqrt((100 + 64 + 1 + 361) / 4.0);
  expect_values(run1(GroupNorm{1, 0}, {x, scale, bias}), {1, 2, 2},
                {(1 - mean) / deviation, (3 - mean) / deviation, 2 * (10 - mean) / deviation + 5,
                 2 * (30 - mean) / deviation + 5});
  expect_error(ErrorCode::invalid_argument, "2 channels", [&] { run1(GroupNorm{3, 0}, {x, scale, bias}); });
}

TEST(ReferenceSoftmax, AlongAnyAxisWithoutOverflow) {
  expect_values(run1(Softmax{0, false, false}, {floats({2, 2}, {1000, 0, 1000, std::log(3.0f)})}), {2, 2},
                {0.5, 0.25, 0.5, 0.75});
  expect_values(run1(Softmax{1, true, false}, {floats({1, 2}, {0, std::log(3.0f)})}), {1, 2},
                {std::log(0.25), std::log(0.75)});
}

TEST(ReferenceSoftmax, RowsOfMinusInfinity) {
  const Tensor x = floats({1, 2}, {-kInf, -kInf});
  expect_values(run1(Softmax{1, false, false}, {x}), {1, 2}, {kNan, kNan});
  expect_values(run1(Softmax{1, false, true}, {x}), {1, 2}, {0, 0});
  expect_values(run1(Softmax{1, false, false}, {floats({1, 2}, {-kInf, 3})}), {1, 2}, {0, 1});
  expect_values(run1(Softmax{1, false, true}, {floats({1, 2}, {kNan, -kInf})}), {1, 2}, {kNan, kNan});
  EXPECT_EQ(run1(Softmax{1, false, false}, {Tensor(DType::f32, {2, 0})}).dims(), (Sizes{2, 0}));
}

TEST(ReferenceEmbedding, SumsRowsAndNormalises) {
  const Tensor words = floats({3, 2}, {1, 3, 5, 5, 0, 8}), positions = floats({2, 2}, {0, 0, 1, 1});
  const Embedding op{2, NormKind::layer, 0};
  const Tensor scale = floats({2}, {1, 10}), bias = floats({2}, {0, 1});
  const Tensor y = run1(op, {ints({2, 2}, {0, 2, -1, 0}), words, ints({1, 2}, {0, 1}), positions, scale, bias});
  expect_values(y, {2, 2, 2}, {-1, 11, -1, 11, -1, 11, -1, 11});
  const Tensor falling = floats({2, 2}, {9, 0, 0, 0}), picked = Tensor::of<int32_t>({3}, {3, 0, 3});
  expect_values(run1(op, {ints({2, 2}, {0, 2, -1, 0}), words, ints({1, 2}, {1, 0}), falling, scale, bias, picked}),
                {3, 2}, {1, -9, -1, 11, 1, -9});
  Tensor narrow(DType::bf16, {3, 2});
  for (int64_t i = 0; i < 6; ++i) narrow.write_double(i, words.read_double(i));
  EXPECT_EQ(run1(op, {ints({2, 2}, {0, 2, -1, 0}), narrow, ints({1, 2}, {0, 1}), positions, scale, bias}), y);
  expect_error(ErrorCode::invalid_argument, "index 3", [&] {
    run1(Embedding{1, NormKind::layer, 0}, {ints({1}, {3}), words, scale});
  });
}

}  // namespace
}  // namespace lathe
