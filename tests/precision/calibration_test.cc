// What is collected over several batches, that a number that is not finite is found in whichever it is, and what of two
// graphs is compared.
#include "precision/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "graph/text.h"
#include "precision/measure.h"

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

std::shared_ptr<const Engine> engine_that(const std::string& program) {
  return engine_of(
      parse_graph("graph (%x: f32[n, 2]) { %y = map(%x) {program = (x0) => " + program + "} return %y as \"y\" }"), {});
}

TEST(Compare, OneClassForRowsThatF32TellsApart) {
  const Batches batches = {{{"x", Tensor::of<float>({3, 2}, {1, 2, 2, 1, 3, 5})}}};
  const Recorded expected = record(engine_that("neg(x0)"), batches, {.threads = 1});
  const auto found = [&](const std::string& program) {
    return compare(expected, engine_that(program), batches, {.threads = 1}).at(0).agreement;
  };
  EXPECT_FALSE(found("mul(neg(x0), 2:f32)").collapsed);
  EXPECT_TRUE(found("add(neg(x0), mul(cast<f32>(iota(-1)), 9:f32))").collapsed);
  EXPECT_NEAR(found("add(neg(x0), mul(cast<f32>(iota(-1)), 9:f32))").top1, 1.0 / 3, 1e-9);
}

}  // namespace
}  // namespace lathe::precision
