#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

Pool pool1d(PoolKind kind, int64_t kernel, int64_t stride, int64_t begin, int64_t end, bool ceil_mode = false) {
  Pool op;
  op.kind = kind;
  op.kernel = {kernel};
  op.strides = {stride};
  op.dilations = {1};
  op.pads = shape_of({begin, end});
  op.ceil_mode = ceil_mode;
  return op;
}

TEST(ReferencePool, MaximaAndTheirPositions) {
  Pool op;
  op.kernel = {2, 2};
  op.strides = op.dilations = {1, 1};
  op.pads = shape_of({0, 0, 0, 0});
  const Tensor x = floats({1, 2, 2, 3}, {1, 5, 5, 4, 2, 3, 0, 0, 0, 9, 8, 7});
  auto results = run(op, {x}, 2);
  expect_values(std::get<Tensor>(results[0]), {1, 2, 1, 2}, {5, 5, 9, 8});
  expect_values(std::get<Tensor>(results[1]), {1, 2, 1, 2}, {1, 1, 9, 10});
  op.column_major_indices = true;
  results = run(op, {x}, 2);
  expect_values(std::get<Tensor>(results[1]), {1, 2, 1, 2}, {2, 2, 7, 9});
}

TEST(ReferencePool, MaxPropagatesNanAndIgnoresPadding) {
  expect_values(run1(pool1d(PoolKind::max, 2, 1, 1, 0), {floats({1, 1, 3}, {-3, kNan, 1})}), {1, 1, 3},
                {-3, kNan, kNan});
  EXPECT_EQ(run1(pool1d(PoolKind::max, 2, 1, 1, 0), {Tensor::of<uint8_t>({1, 1, 2}, {3, 200})}),
            Tensor::of<uint8_t>({1, 1, 2}, {3, 200}));
}

TEST(ReferencePool, WindowsInThePaddingGiveNothing) {
  const Tensor x = floats({1, 1, 1}, {4});
  expect_values(run1(pool1d(PoolKind::max, 1, 1, 1, 0), {x}), {1, 1, 2}, {-kInf, 4});
  expect_values(run1(pool1d(PoolKind::average, 1, 1, 1, 0), {x}), {1, 1, 2}, {0, 4});
}

TEST(ReferencePool, AverageCountsPaddingOnlyOnDemand) {
  Pool op = pool1d(PoolKind::average, 3, 2, 1, 1);
  expect_values(run1(op, {counting({1, 1, 5})}), {1, 1, 3}, {1.5, 3, 4.5});
  op.count_include_pad = true;
  expect_values(run1(op, {counting({1, 1, 5})}), {1, 1, 3}, {1, 3, 3});
}

TEST(ReferencePool, CeilModeKeepsTheLastPartialWindow) {
  expect_values(run1(pool1d(PoolKind::max, 2, 2, 0, 0, true), {counting({1, 1, 5})}), {1, 1, 3}, {2, 4, 5});
  expect_values(run1(pool1d(PoolKind::max, 2, 2, 0, 0, false), {counting({1, 1, 5})}), {1, 1, 2}, {2, 4});
  // A window that would start in the right padding is dropped.
  expect_values(run1(pool1d(PoolKind::max, 1, 2, 0, 1, true), {counting({1, 1, 2})}), {1, 1, 1}, {1});
  Pool op = pool1d(PoolKind::average, 3, 2, 1, 1, true);  // what sticks out past the padding does not count
  op.count_include_pad = true;
  expect_values(run1(op, {counting({1, 1, 4})}), {1, 1, 3}, {1, 3, 2});
}

TEST(ReferencePool, LpNormAndChannelsLast) {
  expect_values(run1(pool1d(PoolKind::lp, 2, 1, 0, 0), {floats({1, 1, 3}, {3, -4, 0})}), {1, 1, 2}, {5, 4});
  Pool op = pool1d(PoolKind::max, 2, 1, 0, 0);
  op.channels_last = true;
  expect_values(run1(op, {floats({1, 2, 2}, {1, 20, 2, 10})}), {1, 1, 2}, {2, 20});
  expect_error(ErrorCode::unsupported, "channels-last", [&] { run(op, {counting({1, 2, 2})}, 2); });
}

}  // namespace
}  // namespace lathe
