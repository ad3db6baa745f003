#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

TEST(ReferenceGather, ReplacesAnAxisByTheAxesOfTheIndices) {
  const Tensor x = counting({3, 2});
  expect_values(run1(Gather{0}, {x, ints({2, 2}, {0, 1, -1, 0})}), {2, 2, 2}, {1, 2, 3, 4, 5, 6, 1, 2});
  expect_values(run1(Gather{1}, {x, ints({}, {1})}), {3}, {2, 4, 6});
  EXPECT_EQ(run1(Gather{0}, {x, Tensor(DType::i64, {0})}).dims(), (Sizes{0, 2}));
  expect_error(ErrorCode::invalid_argument, "index -4", [&] { run1(Gather{0}, {x, ints({1}, {-4})}); });
}

TEST(ReferenceGather, MovesEveryKindOfElement) {
  const Tensor positions = ints({2}, {2, 0});
  EXPECT_EQ(run1(Gather{0}, {Tensor::of_strings({3}, {"a", "b", "c"}), positions}),
            Tensor::of_strings({2}, {"c", "a"}));
  Tensor packed(DType::i4, {3});
  for (int64_t i = 0; i < 3; ++i) packed.write_int(i, i - 8);
  expect_values(run1(Gather{0}, {packed, positions}), {2}, {-6, -8});
}

TEST(ReferenceGather, ElementsAndSlices) {
  const Tensor x = counting({2, 2});
  expect_values(run1(GatherElements{1}, {x, ints({2, 2}, {0, 0, 1, 0})}), {2, 2}, {1, 1, 4, 3});
  expect_values(run1(GatherElements{0}, {x, ints({1, 2}, {-1, 0})}), {1, 2}, {3, 2});
  expect_values(run1(GatherNd{0}, {x, ints({2, 2}, {0, 0, 1, 1})}), {2}, {1, 4});
  expect_values(run1(GatherNd{0}, {x, ints({1, 1}, {-1})}), {1, 2}, {3, 4});
  expect_values(run1(GatherNd{1}, {counting({2, 2, 2}), ints({2, 1}, {1, 0})}), {2, 2}, {3, 4, 5, 6});
}

TEST(ReferenceScatter, ReplacesElementsAndSlices) {
  const Tensor x = floats({1, 5}, {1, 2, 3, 4, 5});
  const Tensor indices = ints({1, 2}, {1, -2}), updates = floats({1, 2}, {1.5f, 2.5f});
  expect_values(run1(ScatterElements{1, ScatterReduction::none}, {x, indices, updates}), {1, 5}, {1, 1.5, 3, 2.5, 5});
  expect_values(run1(ScatterNd{ScatterReduction::none}, {counting({2, 2}), ints({1, 1}, {1}), floats({1, 2}, {8, 9})}),
                {2, 2}, {1, 2, 8, 9});
}

TEST(ReferenceScatter, ReducesRepeatedIndices) {
  const Tensor x = floats({3}, {2, 2, kNan}), indices = ints({4}, {0, 0, 1, 2}), updates = floats({4}, {3, 5, 1, 1});
  expect_values(run1(ScatterElements{0, ScatterReduction::add}, {x, indices, updates}), {3}, {10, 3, kNan});
  expect_values(run1(ScatterElements{0, ScatterReduction::mul}, {x, indices, updates}), {3}, {30, 2, kNan});
  expect_values(run1(ScatterElements{0, ScatterReduction::max}, {x, indices, updates}), {3}, {5, 2, kNan});
  expect_values(run1(ScatterElements{0, ScatterReduction::min}, {x, indices, updates}), {3}, {2, 1, kNan});
  const Tensor positions = ints({2, 1}, {1, 1});
  expect_values(run1(ScatterNd{ScatterReduction::add}, {counting({2, 1}), positions, counting({2, 1})}), {2, 1},
                {1, 5});
}

TEST(ReferenceScatter, LeavesItsOperandAlone) {
  const RefValue x = counting({2});
  run1(ScatterElements{0, ScatterReduction::none}, {x, ints({1}, {0}), floats({1}, {9})});
  expect_values(std::get<Tensor>(x), {2}, {1, 2});
}

}  // namespace
}  // namespace lathe
