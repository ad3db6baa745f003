// Types that were chosen before are taken again for the same question, and for no other.
#include "precision/recall.h"

#include <gtest/gtest.h>

#include <cmath>

#include "graph/text.h"

namespace lathe::precision {
namespace {

std::unique_ptr<Graph> product(int seed) {
  return parse_graph(
      fmt::format("graph (%x: f32[n, 32]) {{\n  %w = constant {{value = f32[32, 32] random({})}}\n"
                  "  %y = matmul(%x, %w)\n  return %y as \"y\"\n}}",
                  seed));
}

Batches batches(float factor) {
  Tensor x(DType::f32, {4, 32});
  for (float& value : x.mutable_as<float>())
    value = factor * std::sin(static_cast<float>(&value - x.as<float>().data()));
  return {{{"x", x}}};
}

struct Built {
  std::string graph;
  Report report;
  bool searched = false;
};

Built build(TimingCache& cache, int seed = 1, double bound = 0.999, float factor = 1, double top1 = 0) {
  Built built;
  const auto graph = product(seed);
  PrecisionOptions options{.types = {DType::i8}, .min_cosine = bound, .min_top1 = top1};
  options.progress = [&](const std::string& what) { built.searched |= what.find("trial") != std::string::npos; };
  options.outcomes = &cache;
  built.report = assign(*graph, {}, batches(factor), options);
  built.graph = print(*graph);
  return built;
}

TEST(Recall, TheSameQuestionIsAskedOnce) {
  TimingCache cache;
  const Built first = build(cache), second = build(cache);
  EXPECT_TRUE(first.searched);
  EXPECT_FALSE(second.searched);
  EXPECT_FALSE(first.report.recalled);
  EXPECT_TRUE(second.report.recalled);
  EXPECT_EQ(second.graph, first.graph);
  EXPECT_NE(second.graph.find("i8"), std::string::npos);
  EXPECT_EQ(second.report.met, first.report.met);
  EXPECT_EQ(second.report.trials, first.report.trials);
  ASSERT_EQ(second.report.layers.size(), 1u);
  EXPECT_EQ(second.report.layers[0].name, first.report.layers[0].name);
  EXPECT_TRUE(second.report.layers[0].type == first.report.layers[0].type);
  EXPECT_EQ(second.report.outputs.at(0).agreement.cosine, first.report.outputs.at(0).agreement.cosine);
  EXPECT_EQ(second.report.outputs[0].agreement.top1, first.report.outputs[0].agreement.top1);
  EXPECT_EQ(second.report.after.weight_bytes, first.report.after.weight_bytes);
}

TEST(Recall, AnotherQuestionIsAnother) {
  TimingCache cache;
  build(cache);
  EXPECT_TRUE(build(cache, 2).searched) << "other weights";
  EXPECT_TRUE(build(cache, 1, 0.9).searched) << "another bound";
  EXPECT_TRUE(build(cache, 1, 0.999, 2).searched) << "other inputs";
  EXPECT_TRUE(build(cache, 1, 0.999, 1, 0.5).searched) << "a bound for first choices";
  EXPECT_FALSE(build(cache).searched);
}

// Neither do ranges that the types need have to be found again.
TEST(Recall, RangesComeBack) {
  TimingCache cache;
  const auto calibrates = [&](Calibrator calibrator) {
    bool found = false;
    PrecisionOptions options{.types = {DType::i8}, .calibrator = calibrator, .static_activations = true};
    options.progress = [&](const std::string& what) { found |= what.find("calibrating") != std::string::npos; };
    options.outcomes = &cache;
    const auto graph = product(1);
    assign(*graph, {}, batches(1), options);
    return std::pair(found, print(*graph));
  };
  const auto first = calibrates(Calibrator::mse), second = calibrates(Calibrator::mse);
  EXPECT_TRUE(first.first);
  EXPECT_FALSE(second.first);
  EXPECT_EQ(second.second, first.second);
  EXPECT_TRUE(calibrates(Calibrator::min_max).first);
}

TEST(Recall, DamagedNotesAreNoOutcome) {
  TimingCache cache;
  const std::string key = "k";
  EXPECT_FALSE(recall(cache, key));
  keep(cache, key, {Assignment(3, {DType::f16, DType::f16}), {}, {}, {}});
  EXPECT_TRUE(recall(cache, key));
  for (const char* note : {"3", "{}", R"({"nodes": 1, "types": [[0, ["f33", "f32"]]], "report": {}})"}) {
    cache.insert_note(key, note);
    EXPECT_FALSE(recall(cache, key)) << note;
  }
}

TEST(Recall, OutcomesComeBackWithNumbersThatJsonLacks) {
  TimingCache cache;
  Report report;
  report.halves_are_faster = true;
  report.outputs = {{"y", {0, std::numeric_limits<double>::infinity(), false, true}}};
  keep(cache, "k", {Assignment(2), report, {{"x", {-0.1, 0.3}}}, {{"n", {1.5f, 0.1f}}}});
  const auto outcome = recall(cache, "k");
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->assignment.size(), 2u);
  EXPECT_TRUE(outcome->report.halves_are_faster);
  EXPECT_TRUE(std::isinf(outcome->report.outputs.at(0).agreement.max_error));
  EXPECT_FALSE(outcome->report.outputs[0].agreement.finite);
  EXPECT_TRUE(outcome->report.outputs[0].agreement.collapsed);
  EXPECT_EQ(outcome->ranges.at("x").low, -0.1);
  EXPECT_EQ(outcome->ranges.at("x").high, 0.3);
  EXPECT_EQ(outcome->columns.at("n"), (std::vector<float>{1.5f, 0.1f}));
}

}  // namespace
}  // namespace lathe::precision
