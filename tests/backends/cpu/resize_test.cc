// Resampling: the published examples of ONNX's Resize, and both layouts against a direct sum over taps.
#include "backends/cpu/kernels/resize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/backends/cpu/reference_data.h"

namespace lathe::cpu {
namespace {

ResizeAxis unchanged(int64_t size) { return make_resize_axis({}, size, size, 1.0); }

std::vector<float> run(const Resize& r, Isa isa, const std::vector<float>& x, int threads) {
  std::vector<float> y(
      static_cast<size_t>(r.batch * r.channels * r.axes[0].output * r.axes[1].output * r.axes[2].output), -77.0f);
  std::vector<double> workspace(resize_workspace_bytes(r, threads) / sizeof(double) + 1);
  ThreadTeam team(threads);
  resize(team, kernel_table(isa), r, x.data(), y.data(), reinterpret_cast<std::byte*>(workspace.data()));
  return y;
}

std::vector<float> resize_picture(const ResizeOptions& options, int64_t height, int64_t width, int64_t out_height,
                                  int64_t out_width, double scale_h, double scale_w, const std::vector<float>& x) {
  Resize r;
  r.nchw = true;
  r.extrapolation = options.extrapolation;
  r.axes = {unchanged(1), make_resize_axis(options, height, out_height, scale_h),
            make_resize_axis(options, width, out_width, scale_w)};
  return run(r, Isa::generic, x, 1);
}

void expect_near(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5f * (1 + std::abs(want[i]))) << "at " << i;
}

const std::vector<float> kOneToSixteen = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

TEST(ResizeExamples, Nearest) {
  ResizeOptions nearest;
  expect_near(resize_picture(nearest, 2, 2, 4, 6, 2, 3, {1, 2, 3, 4}),
              {1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 3, 3, 3, 4, 4, 4});
  expect_near(resize_picture(nearest, 2, 4, 1, 2, 0.6, 0.6, {1, 2, 3, 4, 5, 6, 7, 8}), {1, 3});
}

TEST(ResizeExamples, Linear) {
  ResizeOptions linear;
  linear.mode = ResizeMode::linear;
  expect_near(resize_picture(linear, 2, 2, 4, 4, 2, 2, {1, 2, 3, 4}),
              {1, 1.25, 1.75, 2, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3, 3.25, 3.75, 4});
  expect_near(resize_picture(linear, 2, 4, 1, 2, 0.6, 0.6, {1, 2, 3, 4, 5, 6, 7, 8}), {2.6666665f, 4.3333331f});
  linear.coordinates = ResizeCoordinates::align_corners;
  expect_near(resize_picture(linear, 2, 2, 4, 4, 2, 2, {1, 2, 3, 4}),
              {1, 1.33333333f, 1.66666667f, 2, 1.66666667f, 2, 2.33333333f, 2.66666667f, 2.33333333f, 2.66666667f, 3,
               3.33333333f, 3, 3.33333333f, 3.66666667f, 4});
  expect_near(resize_picture(linear, 2, 4, 1, 2, 0.6, 0.6, {1, 2, 3, 4, 5, 6, 7, 8}), {1, 3.142857f});
}

TEST(ResizeExamples, Cubic) {
  ResizeOptions cubic;
  cubic.mode = ResizeMode::cubic;
  expect_near(resize_picture(cubic, 4, 4, 3, 3, 0.8, 0.8, kOneToSixteen),
              {1.47119141f, 2.78125f, 4.08251953f, 6.71142578f, 8.02148438f, 9.32275391f, 11.91650391f, 13.2265625f,
               14.52783203f});
  cubic.cubic_a = -0.5f;
  cubic.exclude_outside = true;
  expect_near(
      resize_picture(cubic, 4, 4, 3, 3, 0.8, 0.8, kOneToSixteen),
      {1.36812675f, 2.6695014f, 4.0133367f, 6.57362535f, 7.875f, 9.2188353f, 11.94896657f, 13.25034122f, 14.59417652f});
}

TEST(ResizeExamples, Antialias) {
  ResizeOptions linear;
  linear.mode = ResizeMode::linear;
  linear.antialias = true;
  expect_near(resize_picture(linear, 4, 4, 2, 2, 0.6, 0.6, kOneToSixteen), {2.875f, 4.5f, 9.375f, 11});
  linear.mode = ResizeMode::cubic;
  expect_near(resize_picture(linear, 4, 4, 2, 2, 0.6, 0.6, kOneToSixteen),
              {2.5180721f, 4.2858863f, 9.589329f, 11.357142f});
}

TEST(ResizeExamples, CropBeyondThePictureIsExtrapolated) {
  ResizeOptions crop;
  crop.mode = ResizeMode::linear;
  crop.coordinates = ResizeCoordinates::tf_crop_and_resize;
  crop.extrapolation = 10.0f;
  Resize r;
  r.nchw = true;
  r.extrapolation = 10.0f;
  r.axes = {unchanged(1), make_resize_axis(crop, 4, 3, 0.75, 0.4, 1.2), make_resize_axis(crop, 4, 3, 0.75, 0.6, 1.7)};
  expect_near(run(r, Isa::generic, kOneToSixteen, 1), {7.6f, 10, 10, 12.4f, 10, 10, 10, 10, 10});
}

TEST(ResizeAxes, RoundingOfHalves) {
  const auto picked = [](ResizeRounding rounding) {
    ResizeOptions options;
    options.coordinates = ResizeCoordinates::asymmetric;
    options.rounding = rounding;
    return make_resize_axis(options, 3, 6, 2.0).index;  // positions 0, 0.5, 1, 1.5, 2, 2.5
  };
  using Indices = std::vector<int32_t>;
  EXPECT_EQ(picked(ResizeRounding::round_prefer_floor), (Indices{0, 0, 1, 1, 2, 2}));
  EXPECT_EQ(picked(ResizeRounding::round_prefer_ceil), (Indices{0, 1, 1, 2, 2, 2}));
  EXPECT_EQ(picked(ResizeRounding::floor), (Indices{0, 0, 1, 1, 2, 2}));
  EXPECT_EQ(picked(ResizeRounding::ceil), (Indices{0, 1, 1, 2, 2, 2}));
}

TEST(ResizeAxes, WeightsSumToOne) {
  for (ResizeMode mode : {ResizeMode::linear, ResizeMode::cubic}) {
    for (bool antialias : {false, true}) {
      for (bool exclude : {false, true}) {
        for (const auto& [input, output] : {std::pair<int64_t, int64_t>{7, 20}, {20, 7}, {1, 5}, {9, 1}, {5, 5}}) {
          ResizeOptions options;
          options.mode = mode, options.antialias = antialias, options.exclude_outside = exclude;
          const ResizeAxis axis =
              make_resize_axis(options, input, output, static_cast<double>(output) / static_cast<double>(input));
          for (int64_t i = 0; i < output; ++i) {
            double sum = 0;
            for (int64_t t = i * axis.taps; t < (i + 1) * axis.taps; ++t) {
              sum += static_cast<double>(axis.weight[static_cast<size_t>(t)]);
              ASSERT_GE(axis.index[static_cast<size_t>(t)], 0);
              ASSERT_LT(axis.index[static_cast<size_t>(t)], input);
            }
            ASSERT_NEAR(sum, 1.0, 1e-6);
          }
        }
      }
    }
  }
}

TEST(ResizeAxes, BadNumbersAreRefused) {
  EXPECT_THROW(make_resize_axis({}, 0, 3, 2.0), Error);
  EXPECT_THROW(make_resize_axis({}, 3, 3, 0.0), Error);
  EXPECT_THROW(make_resize_axis({}, 3, 3, std::numeric_limits<double>::quiet_NaN()), Error);
}

class ResizeTest : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam() > detect_cpu_features().best_isa) GTEST_SKIP() << "not on this machine";
  }
};
INSTANTIATE_TEST_SUITE_P(Isa, ResizeTest, testing::Values(Isa::generic, Isa::avx2, Isa::avx512),
                         [](const auto& instance) { return std::string(to_string(instance.param)); });

double sampled(const Resize& r, const std::vector<float>& x, int64_t n, int64_t c, const std::array<int64_t, 3>& at) {
  double sum = 0;
  for (int64_t i = 0; i < r.axes[0].taps; ++i)
    for (int64_t j = 0; j < r.axes[1].taps; ++j)
      for (int64_t k = 0; k < r.axes[2].taps; ++k) {
        const std::array<int64_t, 3> tap = {i, j, k};
        double weight = 1;
        int64_t pixel = 0;
        for (size_t a = 0; a < 3; ++a) {
          const auto entry = static_cast<size_t>(at[a] * r.axes[a].taps + tap[a]);
          weight *= static_cast<double>(r.axes[a].weight[entry]);
          pixel = pixel * r.axes[a].input + r.axes[a].index[entry];
        }
        const int64_t pixels = r.axes[0].input * r.axes[1].input * r.axes[2].input;
        sum += weight * static_cast<double>(x[static_cast<size_t>(r.nchw ? (n * r.channels + c) * pixels + pixel
                                                                         : (n * pixels + pixel) * r.channels + c)]);
      }
  return sum;
}

TEST_P(ResizeTest, BothLayoutsMatchTheSumOverTaps) {
  for (ResizeMode mode : {ResizeMode::nearest, ResizeMode::linear, ResizeMode::cubic}) {
    for (int64_t channels : {1, 3, 16, 37}) {
      for (bool nchw : {false, true}) {
        for (const auto& [depth, out_depth] : {std::pair<int64_t, int64_t>{1, 1}, {3, 5}}) {
          ResizeOptions options;
          options.mode = mode;
          Resize r;
          r.nchw = nchw, r.batch = 2, r.channels = channels;
          r.axes = {
              make_resize_axis(options, depth, out_depth, static_cast<double>(out_depth) / static_cast<double>(depth)),
              make_resize_axis(options, 5, 10, 2.0), make_resize_axis(options, 7, 4, 4.0 / 7.0)};
          const std::vector<float> x = random_floats(2 * channels * depth * 5 * 7, 3);
          const std::vector<float> y = run(r, GetParam(), x, 2);
          for (int64_t i = 0; i < static_cast<int64_t>(y.size()); ++i) {
            const int64_t pixels = out_depth * 10 * 4;
            const int64_t pixel = nchw ? i % pixels : i / channels % pixels;
            const int64_t c = nchw ? i / pixels % channels : i % channels, n = i / pixels / channels;
            ASSERT_NEAR(y[static_cast<size_t>(i)], sampled(r, x, n, c, {pixel / 40, pixel / 4 % 10, pixel % 4}), 2e-6)
                << "mode " << static_cast<int>(mode) << " channels " << channels << " nchw " << nchw << " at " << i;
          }
        }
      }
    }
  }
}

TEST_P(ResizeTest, EmptyOutputs) {
  Resize r;
  r.axes = {unchanged(1), make_resize_axis({}, 4, 0, 0.1), unchanged(3)};
  EXPECT_TRUE(run(r, GetParam(), std::vector<float>(12), 2).empty());
  r.axes = {unchanged(1), unchanged(3), make_resize_axis({}, 4, 0, 0.1)};
  EXPECT_TRUE(run(r, GetParam(), std::vector<float>(12), 2).empty());
}

}  // namespace
}  // namespace lathe::cpu
