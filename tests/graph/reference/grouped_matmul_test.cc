// Products in which every row chooses its matrix, against numbers worked out by hand.
#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

GroupedMatMul wide(bool trans_b) {
  GroupedMatMul op;
  op.trans_b = trans_b;
  return op;
}

// Two tokens of two terms; the second of the matrices is ten times the first.
const Tensor kOnes = floats({3, 2}, {1, 0, 0, 1, 1, 1}), kTens = floats({3, 2}, {10, 0, 0, 10, 10, 10});

TEST(ReferenceGroupedMatMul, RowsOfATokenAreSharedOrItsOwn) {
  const Tensor shared = floats({2, 1, 2}, {1, 2, 3, 4}), chosen = ints({2, 2}, {1, 0, 0, 0});
  expect_values(run1(wide(true), {shared, chosen, kOnes, kTens}), {2, 2, 3}, {10, 20, 30, 1, 2, 3, 3, 4, 7, 3, 4, 7});
  const Tensor own = floats({1, 2, 2}, {1, 2, 3, 4});
  expect_values(run1(wide(true), {own, integers(DType::i32, {1, 2}, {0, 1}), kOnes, kTens}), {1, 2, 3},
                {1, 2, 3, 30, 40, 70});
}

TEST(ReferenceGroupedMatMul, MatricesMayStandTheOtherWayRound) {
  const Tensor matrix = floats({2, 3}, {1, 0, 1, 0, 1, 1});
  expect_values(run1(wide(false), {floats({1, 1, 2}, {3, 4}), ints({1, 1}, {0}), matrix}), {1, 1, 3}, {3, 4, 7});
}

TEST(ReferenceGroupedMatMul, NoTokensAndNoTerms) {
  expect_values(run1(wide(true), {floats({0, 1, 2}, {}), ints({0, 2}, {}), kOnes}), {0, 2, 3}, {});
  expect_values(run1(wide(true), {floats({1, 1, 0}, {}), ints({1, 1}, {0}), floats({2, 0}, {})}), {1, 1, 2}, {0, 0});
}

TEST(ReferenceGroupedMatMul, WhatIsNotChosenDoesNotCount) {
  const Tensor bad = floats({3, 2}, std::vector<float>(6, kNan));
  expect_values(run1(wide(true), {floats({1, 1, 2}, {1, 2}), ints({1, 1}, {1}), bad, kOnes}), {1, 1, 3}, {1, 2, 3});
}

TEST(ReferenceGroupedMatMul, ChoicesMustBeInRange) {
  for (const int64_t group : {-1, 2})
    EXPECT_THROW(run1(wide(true), {floats({1, 1, 2}, {1, 2}), ints({1, 1}, {group}), kOnes, kTens}), Error);
}

TEST(ReferenceGroupedMatMul, RoundedMatricesHaveScalesZerosAndAnOrder) {
  GroupedMatMul op;
  op.block = 2;
  const Tensor q = integers(DType::u4, {1, 4}, {9, 8, 7, 15}), scales = floats({1, 2}, {1, 2});
  const Tensor zeros = integers(DType::u4, {1, 2}, {9, 7}), order = integers(DType::i32, {4}, {3, 2, 1, 0});
  const Tensor a = floats({1, 1, 4}, {1, 10, 100, 1000}), chosen = ints({1, 1}, {0});
  // Levels 0, -1, 0 and 16 after zeros and scales, for the terms from the last to the first.
  expect_values(run1(op, {a, chosen, q, scales, zeros, order}), {1, 1, 1}, {-100 + 16});
}

}  // namespace
}  // namespace lathe
