#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

Resize resize(ResizeMode mode, ResizeCoordinates coordinates, Sizes sizes, std::vector<double> scales = {}) {
  Resize op;
  op.mode = mode;
  op.coordinates = coordinates;
  for (size_t i = 0; i < sizes.size(); ++i) op.axes.push_back(static_cast<int64_t>(i));
  op.sizes = shape_of(sizes);
  op.scales = std::move(scales);
  return op;
}

TEST(ReferenceResize, NearestRoundsAsAsked) {
  Resize op = resize(ResizeMode::nearest, ResizeCoordinates::half_pixel, {8}, {2.0});  // -0.25, 0.25, 0.75, 1.25, ..
  expect_values(run1(op, {counting({4})}), {8}, {1, 1, 2, 2, 3, 3, 4, 4});
  op = resize(ResizeMode::nearest, ResizeCoordinates::asymmetric, {8}, {2.0});  // 0, 0.5, 1, 1.5, ..
  expect_values(run1(op, {counting({4})}), {8}, {1, 1, 2, 2, 3, 3, 4, 4});
  op.nearest = ResizeNearest::round_prefer_ceil;
  expect_values(run1(op, {counting({4})}), {8}, {1, 2, 2, 3, 3, 4, 4, 4});
  op.nearest = ResizeNearest::ceil;
  expect_values(run1(op, {counting({4})}), {8}, {1, 2, 2, 3, 3, 4, 4, 4});
  op.nearest = ResizeNearest::floor;
  expect_values(run1(op, {Tensor::of<int32_t>({4}, {1, 2, 3, 4})}), {8}, {1, 1, 2, 2, 3, 3, 4, 4});
}

TEST(ReferenceResize, ScalesOfAnOperandSteerCoordinates) {
  const Resize op = resize(ResizeMode::linear, ResizeCoordinates::asymmetric, {2});
  expect_values(run1(op, {counting({4}), floats({1}, {0.6f})}), {2}, {1, 1 + 1 / 0.6f});
  expect_values(run1(op, {counting({4})}), {2}, {1, 3});  // the ratio of the sizes
  expect_error(ErrorCode::invalid_argument, "2 scales for 1 axes", [&] {
    run1(op, {counting({4}), floats({2}, {1, 1})});
  });
  expect_error(ErrorCode::invalid_argument, "not positive", [&] { run1(op, {counting({4}), floats({1}, {kNan})}); });
}

TEST(ReferenceResize, LinearAsInTheSpecification) {
  const Tensor x = counting({2, 2});
  expect_values(run1(resize(ResizeMode::linear, ResizeCoordinates::half_pixel, {4, 4}, {2, 2}), {x}), {4, 4},
                {1, 1.25, 1.75, 2, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3, 3.25, 3.75, 4});
  expect_values(run1(resize(ResizeMode::linear, ResizeCoordinates::align_corners, {1, 4}, {0, 0}), {x}), {1, 4},
                {1, 4 / 3.0, 5 / 3.0, 2});
  expect_values(run1(resize(ResizeMode::linear, ResizeCoordinates::pytorch_half_pixel, {1, 2}), {x}), {1, 2}, {1, 2});
}

// Keys' kernel with a = -0.75 weighs the distances 0.25, 0.75, 1.25, 1.75 with 0.87890625, 0.26171875, -0.10546875 and
// -0.03515625; outside of the input its edges go on.
TEST(ReferenceResize, CubicWeighsFourNeighbours) {
  const Resize op = resize(ResizeMode::cubic, ResizeCoordinates::half_pixel, {8}, {2.0});
  expect_values(run1(op, {counting({4})}), {8},
                {0.89453125, 1.19140625, 1.66796875, 2.296875, 2.703125, 3.33203125, 3.80859375, 4.10546875});
  Resize excluding = op;
  excluding.exclude_outside = true;  // the weights inside are scaled to a sum of 1
  expect_values(run1(excluding, {floats({4}, {5, 5, 5, 5})}), {8}, std::vector<double>(8, 5));
}

TEST(ReferenceResize, AntialiasWidensTheKernel) {
  Resize op = resize(ResizeMode::linear, ResizeCoordinates::half_pixel, {2}, {0.5});
  op.antialias = true;  // at 0.5: weights 3 3 1 (and 1 outside, which the edge takes) of 8
  expect_values(run1(op, {counting({4})}), {2}, {(1 + 3 * 1 + 3 * 2 + 3) / 8.0, (2 + 3 * 3 + 3 * 4 + 4) / 8.0});
}

TEST(ReferenceResize, CropExtrapolatesOutside) {
  Resize op = resize(ResizeMode::linear, ResizeCoordinates::tf_crop_and_resize, {3});
  op.roi = {0.5, 1.5};
  op.extrapolation_value = 9;
  expect_values(run1(op, {counting({3})}), {3}, {2, 3, 9});
}

TEST(ReferenceResize, EmptyResultsAndEmptyInputs) {
  const Resize to_nothing = resize(ResizeMode::linear, ResizeCoordinates::half_pixel, {0});
  EXPECT_EQ(run1(to_nothing, {counting({4})}).dims(), (Sizes{0}));
  expect_error(ErrorCode::invalid_argument, "nothing to interpolate", [] {
    run1(resize(ResizeMode::nearest, ResizeCoordinates::half_pixel, {2}), {Tensor(DType::f32, {0})});
  });
}

}  // namespace
}  // namespace lathe
