// What calibrators make of known distributions.
#include "precision/histogram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace lathe::precision {
namespace {

constexpr Calibrator kAll[] = {Calibrator::min_max, Calibrator::entropy, Calibrator::percentile, Calibrator::mse};

// A bell of 100,000 numbers by the inverse of the logistic distribution, and one outlier.
Histogram bell_with_outlier(float outlier) {
  constexpr int kCount = 100000;
  std::vector<float> values;
  for (int i = 0; i < kCount; ++i) {
    const double p = (i + 0.5) / kCount;
    values.push_back(static_cast<float>(std::log(p / (1 - p)) / 6));
  }
  values.push_back(outlier);
  Histogram histogram;
  histogram.add(values);
  return histogram;
}

TEST(Histogram, KeepsItsCountsWhenItGrows) {
  Histogram histogram;
  histogram.add(std::vector<float>{-1, 0.5f, 1});
  histogram.add(std::vector<float>{100, -3});
  EXPECT_EQ(histogram.total(), 5);
  EXPECT_EQ(histogram.low(), -3);
  EXPECT_EQ(histogram.high(), 100);
  int64_t sum = 0, negative = 0;
  for (size_t i = 0; i < Histogram::kBins; ++i) {
    sum += histogram.bins()[i];
    if (histogram.center(i) < 0) negative += histogram.bins()[i];
  }
  EXPECT_EQ(sum, 5);
  EXPECT_EQ(negative, 2);
}

TEST(Histogram, CountsWhatIsNotFiniteApart) {
  Histogram histogram;
  const float nan = std::nanf(""), infinity = std::numeric_limits<float>::infinity();
  histogram.add(std::vector<float>{nan, infinity});
  EXPECT_TRUE(histogram.empty());
  histogram.add(std::vector<float>{1, nan, -2});
  EXPECT_EQ(histogram.not_finite(), 3);
  EXPECT_EQ(histogram.low(), -2);
  EXPECT_EQ(histogram.high(), 1);
}

TEST(Calibrators, OutliersCountForMinMaxAlone) {
  const Histogram histogram = bell_with_outlier(1000);
  EXPECT_EQ(calibrated_range(histogram, Calibrator::min_max, false).high, 1000);
  for (const Calibrator calibrator : {Calibrator::entropy, Calibrator::percentile, Calibrator::mse}) {
    const Range range = calibrated_range(histogram, calibrator, false);
    EXPECT_GT(range.high, 0.3) << to_string(calibrator);
    EXPECT_LT(range.high, calibrator == Calibrator::mse ? 1001 : 100) << to_string(calibrator);
  }
}

TEST(Calibrators, LeastSquaresClipsWhatIsRareAndNotTooFar) {
  const Range range = calibrated_range(bell_with_outlier(8), Calibrator::mse, false);
  EXPECT_LT(range.high, 6);
  EXPECT_GT(range.high, 0.8);
}

TEST(Calibrators, StayInsideWhatWasSeen) {
  Histogram positive;
  std::vector<float> values;
  for (int i = 0; i < 1000; ++i) values.push_back(static_cast<float>(i) / 100);
  positive.add(values);
  for (const Calibrator calibrator : kAll) {
    const Range range = calibrated_range(positive, calibrator, true);
    EXPECT_GE(range.low, 0) << to_string(calibrator);
    EXPECT_LE(range.high, 9.99001) << to_string(calibrator);
    EXPECT_GT(range.high, 5) << to_string(calibrator);
  }
}

TEST(Calibrators, NothingAndZerosGiveEmptyRanges) {
  Histogram zeros;
  zeros.add(std::vector<float>{0, 0, 0});
  for (const Calibrator calibrator : kAll) {
    EXPECT_EQ(calibrated_range(Histogram(), calibrator, true).high, 0) << to_string(calibrator);
    EXPECT_EQ(calibrated_range(zeros, calibrator, true).high, 0) << to_string(calibrator);
  }
}

}  // namespace
}  // namespace lathe::precision
