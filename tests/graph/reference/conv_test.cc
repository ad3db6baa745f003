#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

Conv conv(Sizes strides, Sizes dilations, const Sizes& pads, int64_t groups = 1) {
  Conv op;
  op.strides = std::move(strides);
  op.dilations = std::move(dilations);
  op.pads = shape_of(pads);
  op.groups = groups;
  return op;
}

Conv conv2d(int64_t stride, int64_t pad, int64_t dilation = 1) {
  return conv({stride, stride}, {dilation, dilation}, {pad, pad, pad, pad});
}

Tensor ones(const Sizes& dims) {
  Tensor t = counting(dims);
  for (int64_t i = 0; i < t.elements(); ++i) t.write_double(i, 1);
  return t;
}

Tensor image() {  // 0 .. 24
  Tensor t = counting({1, 1, 5, 5});
  for (int64_t i = 0; i < 25; ++i) t.write_double(i, static_cast<double>(i));
  return t;
}

TEST(ReferenceConv, SumsWindowsWithAndWithoutPadding) {
  expect_values(run1(conv2d(1, 0), {image(), ones({1, 1, 3, 3})}), {1, 1, 3, 3},
                {54, 63, 72, 99, 108, 117, 144, 153, 162});
  expect_values(run1(conv2d(2, 1), {image(), ones({1, 1, 3, 3})}), {1, 1, 3, 3},
                {12, 27, 24, 63, 108, 81, 72, 117, 84});
  expect_values(run1(conv2d(1, 0, 2), {image(), ones({1, 1, 3, 3})}), {1, 1, 1, 1}, {108});
}

TEST(ReferenceConv, GroupsAndChannelsOfAnyRank) {
  const Conv grouped = conv({1}, {1}, {0, 0}, 2);
  expect_values(run1(grouped, {counting({1, 4, 2}), floats({2, 2, 1}, {1, 10, 100, 1000})}), {1, 2, 2},
                {31, 42, 7500, 8600});
  const Conv cube = conv({1, 1, 1}, {1, 1, 1}, {0, 0, 0, 1, 0, 0});
  expect_values(run1(cube, {counting({1, 1, 2, 2, 2}), ones({1, 1, 2, 2, 2})}), {1, 1, 2, 1, 1}, {36, 26});
}

TEST(ReferenceConv, ChannelsLastIsTheSameInAnotherOrder) {
  const Tensor x = noise({2, 3, 5, 4}, 1), w = noise({4, 3, 3, 3}, 2);
  Conv op = conv2d(1, 1);
  const Tensor expected = run1(op, {x, w});
  op.channels_last = true;
  const Tensor y = run1(op, {run1(Transpose{{0, 2, 3, 1}}, {x}), w});
  expect_values(y, {2, 5, 4, 4}, numbers(run1(Transpose{{0, 2, 3, 1}}, {expected})));
}

TEST(ReferenceConv, BiasIsAnEpilogueAndBytesGiveI32) {
  Conv op = conv2d(1, 0);
  op.epilogue = binary_program(MapOp::add, DType::f32);
  const Tensor y = run1(op, {ones({1, 1, 1, 1}), floats({2, 1, 1, 1}, {2, 3}), floats({2, 1, 1}, {10, 20})});
  expect_values(y, {1, 2, 1, 1}, {12, 23});
  EXPECT_EQ(run1(conv2d(1, 0), {Tensor::of<uint8_t>({1, 1, 1, 1}, {255}), Tensor::of<int8_t>({1, 1, 1, 1}, {-128})}),
            Tensor::of<int32_t>({1, 1, 1, 1}, {-32640}));
}

TEST(ReferenceConv, EmptyBatchesAndWrongChannels) {
  EXPECT_EQ(run1(conv2d(1, 1), {Tensor(DType::f32, {0, 1, 4, 4}), ones({2, 1, 3, 3})}).dims(), (Sizes{0, 2, 4, 4}));
  expect_error(ErrorCode::invalid_argument, "[1, 2, 4, 4]", [] {
    run1(conv2d(1, 1), {ones({1, 2, 4, 4}), ones({2, 1, 3, 3})});
  });
}

TEST(ReferenceConvTranspose, SpreadsEachElementOverAWindow) {
  const ConvTranspose op{{1}, {1}, shape_of({0, 0}), {0}, 1, false, {}};
  expect_values(run1(op, {counting({1, 1, 3}), floats({1, 1, 2}, {1, 10})}), {1, 1, 4}, {1, 12, 23, 30});
  const ConvTranspose strided{{3}, {2}, shape_of({1, 0}), {1}, 1, false, {}};
  expect_values(run1(strided, {counting({1, 1, 2}), floats({1, 1, 2}, {1, 10})}), {1, 1, 6}, {0, 10, 2, 0, 20, 0});
  const ConvTranspose grouped{{1}, {1}, shape_of({0, 0}), {0}, 2, false, {}};
  expect_values(run1(grouped, {counting({1, 2, 1}), floats({2, 1, 1}, {5, 7})}), {1, 2, 1}, {5, 14});
}

}  // namespace
}  // namespace lathe
