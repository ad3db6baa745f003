#include <cstring>

#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

Tensor pad(PadMode mode, int64_t begin, int64_t end, const std::vector<RefValue>& inputs) {
  return run1(Pad{mode, shape_of({begin}), shape_of({end})}, inputs);
}

TEST(ReferenceMovement, ReshapeAndTranspose) {
  expect_values(run1(Reshape{shape_of({3, 2})}, {counting({2, 3})}), {3, 2}, {1, 2, 3, 4, 5, 6});
  expect_values(run1(Transpose{{1, 0}}, {counting({2, 3})}), {3, 2}, {1, 4, 2, 5, 3, 6});
  expect_values(run1(Transpose{{2, 0, 1}}, {counting({2, 1, 2})}), {2, 2, 1}, {1, 3, 2, 4});
  expect_values(run1(Transpose{{}}, {counting({})}), {}, {1});
  expect_error(ErrorCode::invalid_argument, "[2, 3] to [4]", [] { run1(Reshape{shape_of({4})}, {counting({2, 3})}); });
}

TEST(ReferenceMovement, SlicesForwardsAndBackwards) {
  const Tensor x = counting({2, 5});
  expect_values(run1(Slice{{1}, shape_of({1}), shape_of({2}), {2}}, {x}), {2, 2}, {2, 4, 7, 9});
  expect_values(run1(Slice{{0, 1}, shape_of({1, 4}), shape_of({1, 3}), {1, -2}}, {x}), {1, 3}, {10, 8, 6});
  EXPECT_EQ(run1(Slice{{1}, shape_of({5}), shape_of({0}), {1}}, {x}).dims(), (Sizes{2, 0}));
  expect_error(ErrorCode::invalid_argument, "[2, 5]", [&] {
    run1(Slice{{1}, shape_of({4}), shape_of({2}), {1}}, {x});
  });
}

TEST(ReferenceMovement, ConcatJoinsAlongAnyAxis) {
  const Tensor a = counting({2, 1}), b = floats({2, 2}, {7, 8, 9, 10});
  expect_values(run1(Concat{1}, {a, b}), {2, 3}, {1, 7, 8, 2, 9, 10});
  expect_values(run1(Concat{0}, {b, Tensor(DType::f32, {0, 2}), b}), {4, 2}, {7, 8, 9, 10, 7, 8, 9, 10});
  EXPECT_EQ(run1(Concat{0}, {Tensor::of_strings({1}, {"a"}), Tensor::of_strings({1}, {"b"})}),
            Tensor::of_strings({2}, {"a", "b"}));
  expect_error(ErrorCode::invalid_argument, "[2, 1] and [2, 2]", [&] { run1(Concat{0}, {a, b}); });
}

TEST(ReferenceMovement, PadInEveryMode) {
  const Tensor x = counting({3});
  expect_values(pad(PadMode::constant, 1, 2, {x}), {6}, {0, 1, 2, 3, 0, 0});
  expect_values(pad(PadMode::constant, 1, 0, {x, floats({}, {-kInf})}), {4}, {-kInf, 1, 2, 3});
  expect_values(pad(PadMode::edge, 2, 1, {x}), {6}, {1, 1, 1, 2, 3, 3});
  expect_values(pad(PadMode::reflect, 2, 3, {x}), {8}, {3, 2, 1, 2, 3, 2, 1, 2});
  expect_values(pad(PadMode::wrap, 2, 4, {x}), {9}, {2, 3, 1, 2, 3, 1, 2, 3, 1});
  expect_values(pad(PadMode::constant, -1, -1, {x}), {1}, {2});
  expect_values(pad(PadMode::constant, 2, 0, {Tensor(DType::f32, {0})}), {2}, {0, 0});
  expect_error(ErrorCode::invalid_argument, "cropped by 4", [&] { pad(PadMode::constant, -4, 0, {x}); });
  expect_error(ErrorCode::invalid_argument, "nothing to pad with",
               [&] { pad(PadMode::edge, 1, 0, {Tensor(DType::f32, {0})}); });
}

TEST(ReferenceMovement, ReverseSequenceKeepsTheTail) {
  expect_values(run1(ReverseSequence{0, 1}, {counting({2, 3}), ints({2}, {2, 3})}), {2, 3}, {2, 1, 3, 6, 5, 4});
  expect_values(run1(ReverseSequence{1, 0}, {counting({2, 2}), ints({2}, {0, 2})}), {2, 2}, {1, 4, 3, 2});
}

TEST(ReferenceMovement, ReadsUnalignedViews) {
  const auto storage = std::make_shared<std::vector<std::byte>>(9, std::byte{0});
  const float values[] = {1, 2};
  std::memcpy(storage->data() + 1, values, sizeof(values));
  const Tensor view = Tensor::view(DType::f32, {2}, std::span<const std::byte>(*storage).subspan(1), storage);
  expect_values(run1(Transpose{{0}}, {view}), {2}, {1, 2});
  expect_values(run1(Map{unary_program(MapOp::neg, DType::f32), {}}, {view}), {2}, {-1, -2});
}

}  // namespace
}  // namespace lathe
