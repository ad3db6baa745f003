// What is collected over several batches, and that a number that is not finite is found in whichever it is.
#include "precision/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "graph/text.h"

namespace lathe::precision {
namespace {

constexpr const char* kModel = R"(graph (%x: f32[n, 2]) {
  %y = map(%x) {program = (x0) => add(x0, x0)}
  return %y as "y"
})";

Batch batch(const std::vector<float>& values) { return {{"x", Tensor::of<float>({2, 2}, values)}}; }

TEST(Calibration, MaximaAreThoseOfAllBatches) {
  const auto maxima = column_maxima(*parse_graph(kModel), {}, {batch({1, -2, 3, 0}), batch({-4, 1, 0, 1})}, {"y"});
  EXPECT_THAT(maxima.at("y"), testing::ElementsAre(8, 4));
}

TEST(Calibration, NumbersThatAreNotFiniteAreFoundInAnyBatch) {
  for (const float bad : {NAN, INFINITY, -INFINITY})
    for (const size_t where : {0, 1}) {
      Batches batches = {batch({1, 2, 3, 4}), batch({1, 2, 3, 4})};
      batches[where] = batch({1, bad, 3, 4});
      EXPECT_THROW(column_maxima(*parse_graph(kModel), {}, batches, {"y"}), Error) << bad << " in " << where;
      EXPECT_THROW(histograms(*parse_graph(kModel), {}, batches, {"y"}), Error) << bad << " in " << where;
    }
}

}  // namespace
}  // namespace lathe::precision
