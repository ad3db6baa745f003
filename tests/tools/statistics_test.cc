#include "tools/statistics.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace lathe::tools {
namespace {

TEST(Statistics, PercentilesAreNumPys) {
  const std::vector<double> sorted = {1, 2, 3, 4};
  EXPECT_DOUBLE_EQ(percentile(sorted, 0), 1);
  EXPECT_DOUBLE_EQ(percentile(sorted, 1), 4);
  EXPECT_DOUBLE_EQ(percentile(sorted, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(percentile(sorted, 0.9), 3.7);
  EXPECT_DOUBLE_EQ(percentile(std::vector<double>{7}, 0.99), 7);
}

TEST(Statistics, SummaryDoesNotNeedSortedSamples) {
  const Summary s = summarise({3, 1, 2});
  EXPECT_EQ(s.count, 3u);
  EXPECT_DOUBLE_EQ(s.min, 1);
  EXPECT_DOUBLE_EQ(s.max, 3);
  EXPECT_DOUBLE_EQ(s.mean, 2);
  EXPECT_DOUBLE_EQ(s.median, 2);
  EXPECT_DOUBLE_EQ(to_json(s)["median"], 2);
}

TEST(Statistics, MeanAndMedian) {
  const std::vector<double> samples = {7, 1, 4, 2};
  EXPECT_DOUBLE_EQ(mean(samples), 3.5);
  EXPECT_DOUBLE_EQ(deviation(std::vector<double>{1, 3, 1, 3}), 1);
  EXPECT_DOUBLE_EQ(median(samples), 3);
}

TEST(Statistics, NoSamplesAreAllZero) {
  EXPECT_EQ(summarise({}).count, 0u);
  EXPECT_EQ(summarise({}).max, 0);
  EXPECT_EQ(mean({}), 0);
  EXPECT_EQ(deviation({}), 0);
  EXPECT_EQ(median({}), 0);
}

}  // namespace
}  // namespace lathe::tools
