#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

void expect_top(const TopK& op, const Tensor& x, const Sizes& dims, const std::vector<double>& values,
                const std::vector<double>& indices) {
  const auto results = run(op, {x}, 2);
  expect_values(std::get<Tensor>(results[0]), dims, values);
  expect_values(std::get<Tensor>(results[1]), dims, indices);
}

TEST(ReferenceTopK, SortsWithLowerIndicesFirstAmongEquals) {
  const Tensor x = floats({2, 4}, {3, 9, 9, 1, -kInf, 0, kNan, 0});
  expect_top({Dim(3), 1, true, true}, x, {2, 3}, {9, 9, 3, kNan, 0, 0}, {1, 2, 0, 2, 1, 3});
  expect_top({Dim(2), 1, false, true}, x, {2, 2}, {1, 3, -kInf, 0}, {3, 0, 0, 1});
  expect_top({Dim(1), 0, true, true}, floats({2, 2}, {1, 8, 4, 2}), {1, 2}, {4, 8}, {1, 0});
  expect_top({Dim(0), -1, true, true}, x, {2, 0}, {}, {});
  expect_error(ErrorCode::invalid_argument, "k = 5 of 4", [&] { run(TopK{Dim(5), 1, true, true}, {x}, 2); });
}

TEST(ReferenceNonZero, ListsPositionsByAxis) {
  expect_values(run1(NonZero{}, {floats({2, 2}, {1, 0, kNan, -2})}), {2, 3}, {0, 1, 1, 0, 0, 1});
  EXPECT_EQ(run1(NonZero{}, {Tensor(DType::boolean, {3})}).dims(), (Sizes{1, 0}));
  EXPECT_EQ(run1(NonZero{}, {Tensor::scalar<int64_t>(4)}).dims(), (Sizes{0, 1}));
}

TEST(ReferencePackTokens, ListsTheTokensOfEachRow) {
  // Padding on the right, on the left, all of a row, and a row with something else than 0 and 1.
  const Tensor mask = ints({4, 4}, {1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 0, 1});
  const auto kept = [&](const PackTokens& op) { return run(op, {mask}, 3); };
  const auto last = kept({.kept = 1, .keep_first = false});
  expect_values(std::get<Tensor>(last[0]), {12}, {0, 1, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0});
  expect_values(std::get<Tensor>(last[1]), {6}, {0, 2, 3, 7, 11, 12});
  expect_values(std::get<Tensor>(last[2]), {4, 4}, {0, 1, -1, -1, -1, -1, -1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  const auto first = kept({.kept = 1, .keep_first = true});
  expect_values(std::get<Tensor>(first[0]), {12}, {0, 1, 4, 7, 8, 9, 10, 11, 12, 13, 14, 15});
  expect_values(std::get<Tensor>(first[1]), {6}, {0, 2, 4, 8, 12, 12});
  const auto zeros = kept({.kept = 0, .keep_first = false});
  expect_values(std::get<Tensor>(zeros[1]), {6}, {0, 2, 5, 9, 13, 16});
  expect_values(std::get<Tensor>(run(PackTokens{}, {ints({2, 0}, {})}, 3)[1]), {4}, {0, 0, 0, 0});
  expect_values(std::get<Tensor>(run(PackTokens{}, {ints({0, 3}, {})}, 3)[1]), {2}, {0, 0});
}

class ReferenceNms : public testing::Test {
 protected:
  const Tensor boxes_ = floats({1, 4, 4}, {0, 0, 1, 1, 1, 1.1f, 0, 0.1f, 0, 10, 1, 11, 0, 10.1f, 1, 11.1f});
  const Tensor scores_ = floats({1, 1, 4}, {0.9f, 0.75f, 0.6f, 0.95f});
};

TEST_F(ReferenceNms, DropsWhatOverlapsABetterBox) {
  expect_values(run1(Nms{Dim(10), 0.5, std::nullopt, false}, {boxes_, scores_}), {2, 3}, {0, 0, 3, 0, 0, 0});
  expect_values(run1(Nms{Dim(10), 0.95, std::nullopt, false}, {boxes_, scores_}), {4, 3},
                {0, 0, 3, 0, 0, 0, 0, 0, 1, 0, 0, 2});
}

TEST_F(ReferenceNms, LimitsByCountAndScore) {
  expect_values(run1(Nms{Dim(1), 0.5, std::nullopt, false}, {boxes_, scores_}), {1, 3}, {0, 0, 3});
  expect_values(run1(Nms{Dim(10), 0.95, 0.8, false}, {boxes_, scores_}), {2, 3}, {0, 0, 3, 0, 0, 0});
  EXPECT_EQ(run1(Nms{Dim(0), 0.5, std::nullopt, false}, {boxes_, scores_}).dims(), (Sizes{0, 3}));
}

TEST_F(ReferenceNms, CentersClassesAndBatches) {
  const Tensor centers = floats({2, 2, 4}, {5, 5, 2, 2, 5.1f, 5, 2, 2, 0, 0, 2, 2, 9, 9, 2, 2});
  const Tensor scores = floats({2, 2, 2}, {0.1f, 0.2f, 0.4f, 0.3f, 0.5f, 0.6f, 0.8f, 0.7f});
  expect_values(run1(Nms{Dim(5), 0.5, std::nullopt, true}, {centers, scores}), {6, 3},
                {0, 0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 0, 1, 1, 0, 1, 1, 1});
}

}  // namespace
}  // namespace lathe
