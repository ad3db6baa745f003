#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

using Tensors = std::vector<Tensor>;

Sequence sequence(SequenceKind kind, int64_t axis = 0, bool new_axis = false, bool keep_dims = true) {
  return Sequence{kind, DType::f32, axis, new_axis, keep_dims};
}
RefValue position(int64_t i) { return Tensor::scalar<int64_t>(i); }

TEST(ReferenceSequence, BuildsReadsAndChanges) {
  const RefValue pair = run(sequence(SequenceKind::construct), {counting({1}), counting({2})}).at(0);
  ASSERT_EQ(std::get<Tensors>(pair).size(), 2u);
  expect_values(run1(sequence(SequenceKind::at), {pair, position(-1)}), {2}, {1, 2});
  expect_values(run1(sequence(SequenceKind::length), {pair}), {}, {2});
  const auto sizes_of = [](const RefValue& value) {
    Sizes sizes;
    for (const Tensor& t : std::get<Tensors>(value)) sizes.push_back(t.elements());
    return sizes;
  };
  const auto insert = sequence(SequenceKind::insert), erase = sequence(SequenceKind::erase);
  EXPECT_EQ(sizes_of(run(insert, {pair, counting({3})})[0]), (Sizes{1, 2, 3}));
  EXPECT_EQ(sizes_of(run(insert, {pair, counting({3}), position(-1)})[0]), (Sizes{1, 3, 2}));
  EXPECT_EQ(sizes_of(run(erase, {pair})[0]), (Sizes{1}));
  EXPECT_EQ(sizes_of(run(erase, {pair, position(0)})[0]), (Sizes{2}));
  EXPECT_EQ(sizes_of(pair), (Sizes{1, 2}));
  expect_error(ErrorCode::invalid_argument, "index 2", [&] { run(sequence(SequenceKind::at), {pair, position(2)}); });
  expect_error(ErrorCode::invalid_argument, "empty", [&] { run(erase, {Tensors{}}); });
}

TEST(ReferenceSequence, SplitsAndJoins) {
  const Tensor x = counting({2, 3});
  const auto pieces = std::get<Tensors>(run(sequence(SequenceKind::split, 1), {x, position(2)})[0]);
  ASSERT_EQ(pieces.size(), 2u);
  expect_values(pieces[0], {2, 2}, {1, 2, 4, 5});
  expect_values(pieces[1], {2, 1}, {3, 6});
  const auto rows = std::get<Tensors>(run(sequence(SequenceKind::split, 0, false, false), {x})[0]);
  expect_values(rows.at(1), {3}, {4, 5, 6});
  expect_values(run1(sequence(SequenceKind::concat, 1), {pieces}), {2, 3}, {1, 2, 3, 4, 5, 6});
  expect_values(run1(sequence(SequenceKind::concat, -1, true), {rows}), {3, 2}, {1, 4, 2, 5, 3, 6});
  expect_error(ErrorCode::invalid_argument, "pieces of 4", [&] {
    run(sequence(SequenceKind::split, 1), {x, ints({2}, {1, 3})});
  });
}

TEST(ReferenceSequence, Optionals) {
  const RefValue none = run(sequence(SequenceKind::optional_make), {})[0];
  const RefValue some = run(sequence(SequenceKind::optional_make), {counting({2})})[0];
  expect_values(run1(sequence(SequenceKind::optional_has), {none}), {}, {0});
  expect_values(run1(sequence(SequenceKind::optional_has), {some}), {}, {1});
  expect_values(run1(sequence(SequenceKind::optional_has), {}), {}, {0});
  expect_values(run1(sequence(SequenceKind::optional_get), {some}), {2}, {1, 2});
  expect_error(ErrorCode::invalid_argument, "empty", [&] { run(sequence(SequenceKind::optional_get), {none}); });
}

}  // namespace
}  // namespace lathe
