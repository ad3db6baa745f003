#include "llm/sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "tests/data_path.h"

namespace lathe::llm {
namespace {

// Shares of 1000 draws.
std::map<int32_t, double> shares(const SamplingOptions& options, const std::vector<float>& logits) {
  std::map<int32_t, double> counts;
  const Sampler sampler(options, static_cast<int64_t>(logits.size()));
  for (int choice = 0; choice < 1000; ++choice) counts[sampler.sample(logits, {}, choice).id] += 1e-3;
  return counts;
}

const std::vector<float> kLogits = {std::log(0.1f), std::log(0.5f), std::log(0.15f), std::log(0.25f)};

TEST(Sampling, TemperatureZeroTakesTheFirstOfTheLikeliest) {
  SamplingOptions options;
  options.temperature = 0;
  EXPECT_EQ(Sampler(options, 4).sample(std::vector<float>{1, 3, 3, 2}, {}, 0).id, 1);
}

TEST(Sampling, DrawsFollowTheProbabilities) {
  const auto found = shares({}, kLogits);
  for (const auto& [id, share] : found) EXPECT_NEAR(share, std::exp(kLogits[static_cast<size_t>(id)]), 0.05) << id;
}

TEST(Sampling, TopKAndTopPCutTheTail) {
  SamplingOptions options;
  options.top_k = 2;
  EXPECT_EQ(shares(options, kLogits).size(), 2u);
  options.top_k = 0;
  options.top_p = 0.6;  // 0.5 is not enough, 0.5 + 0.25 is
  const auto found = shares(options, kLogits);
  EXPECT_EQ(found.size(), 2u);
  EXPECT_NEAR(found.at(1), 0.5 / 0.75, 0.05);
  options.top_p = 0;
  EXPECT_EQ(shares(options, kLogits).size(), 1u);
}

TEST(Sampling, TheSameSeedChoiceAndPlaceDrawTheSame) {
  SamplingOptions options;
  options.seed = 5;
  const std::vector<float> flat(100, 0.0f);
  const std::vector<int32_t> one = {3};
  const int32_t id = Sampler(options, 100).sample(flat, {}, 2).id;
  EXPECT_EQ(Sampler(options, 100).sample(flat, {}, 2).id, id);
  EXPECT_NE(Sampler(options, 100).sample(flat, {}, 3).id, id);
  EXPECT_NE(Sampler(options, 100).sample(flat, {{}, one}, 2).id, id);
  options.seed = 6;
  EXPECT_NE(Sampler(options, 100).sample(flat, {}, 2).id, id);
}

TEST(Sampling, PenaltiesAndBias) {
  SamplingOptions options;
  options.repetition_penalty = 2;
  options.presence_penalty = 1;
  options.frequency_penalty = 0.5;
  options.logit_bias = {{3, 10.0f}};
  std::vector<float> scores = {4, -4, 4, 4};
  const std::vector<int32_t> prompt = {0, 1}, answer = {2, 2};
  Sampler(options, 4).penalise(scores, {prompt, answer});
  EXPECT_THAT(scores, testing::ElementsAre(2, -8, 2 - 1 - 2 * 0.5f, 14));
}

TEST(Sampling, LogprobsAreTheModelsOwn) {
  SamplingOptions options;
  options.temperature = 0;
  options.logprobs = 2;
  options.logit_bias = {{0, 100.0f}};
  const Drawn drawn = Sampler(options, 4).sample(kLogits, {}, 0);
  EXPECT_EQ(drawn.id, 0);
  EXPECT_NEAR(drawn.logprob, std::log(0.1), 1e-5);
  ASSERT_EQ(drawn.top.size(), 2u);
  EXPECT_EQ(drawn.top[1].id, 3);
  EXPECT_NEAR(drawn.top[1].logprob, std::log(0.25), 1e-5);
}

TEST(Sampling, OptionsOutOfRangeAreNamed) {
  for (const auto& change : std::vector<std::function<void(SamplingOptions&)>>{
           [](auto& o) { o.temperature = -1; }, [](auto& o) { o.temperature = NAN; }, [](auto& o) { o.top_p = 1.1; },
           [](auto& o) { o.top_k = -1; }, [](auto& o) { o.min_p = -0.1; }, [](auto& o) { o.repetition_penalty = 0; },
           [](auto& o) { o.logprobs = -2; },
           [](auto& o) {
             o.logit_bias = {{4, 1.0f}};
           }}) {
    SamplingOptions options;
    change(options);
    EXPECT_THROW(Sampler(options, 4), Error);
  }
}

TEST(Sampling, CutsKeepWhatTransformersKeeps) {
  std::ifstream file(std::string(LATHE_TEST_DATA) + "/llm/sampling.json");
  std::vector<float> logits;
  std::vector<int32_t> history;
  const auto cases = nlohmann::json::parse(file);
  ASSERT_GT(cases.size(), 60u);
  for (const auto& entry : cases) {
    SCOPED_TRACE(entry.at("options").dump());
    if (entry.contains("logits")) logits = entry["logits"].get<std::vector<float>>();
    if (entry.contains("history")) history = entry["history"].get<std::vector<int32_t>>();
    const auto& given = entry.at("options");
    SamplingOptions options;
    options.temperature = given.value("temperature", 1.0);
    options.top_k = given.value("top_k", 0);
    options.top_p = given.value("top_p", 1.0);
    options.min_p = given.value("min_p", 0.0);
    options.typical_p = given.value("typical_p", 1.0);
    options.repetition_penalty = given.value("repetition_penalty", 1.0);
    options.logit_bias = given.value("logit_bias", options.logit_bias);
    const Sampler sampler(options, static_cast<int64_t>(logits.size()));
    std::vector<float> scores = logits;
    sampler.penalise(scores, {std::span(history).first(6), std::span(history).subspan(6)});
    std::map<int32_t, double> found;
    double total = 0;
    for (const Candidate& candidate : sampler.candidates(scores)) total += found[candidate.id] = candidate.weight;
    std::map<int32_t, double> wanted;
    for (const auto& [id, probability] : entry.at("kept").get<std::vector<std::pair<int32_t, double>>>())
      wanted[id] = probability;
    for (const auto& [id, probability] : wanted)
      EXPECT_NEAR(found[id] / total, probability, 1e-6 + 2e-6 * probability) << id;
    for (const auto& [id, weight] : found) EXPECT_TRUE(weight / total < 1e-30 || wanted.contains(id)) << id;
  }
}

// Random rows of odd sizes, with equal scores, minus infinity and NaN in them.
TEST(Sampling, SelectionAgreesWithSorting) {
  std::mt19937 random(11);
  for (const size_t size : {1u, 3u, 63u, 64u, 65u, 1000u, 4099u}) {
    std::vector<float> row(size);
    for (float& x : row) x = static_cast<float>(static_cast<int>(random() % 200)) / 8 - 20;
    if (size > 3) row[size / 2] = -std::numeric_limits<float>::infinity(), row[1] = NAN;
    std::vector<Scored> sorted;
    for (size_t i = 0; i < size; ++i)
      if (!std::isnan(row[i])) sorted.push_back({static_cast<int32_t>(i), row[i]});
    std::sort(sorted.begin(), sorted.end(), precedes);
    EXPECT_EQ(row_argmax(row), sorted[0].id);
    for (const size_t count : {size_t{1}, size_t{2}, size_t{17}, size / 2, sorted.size()}) {
      if (count == 0 || count > sorted.size()) continue;
      EXPECT_EQ(kth_largest(row, count), sorted[count - 1].score) << size << " " << count;
      const auto found = likeliest(row, count);
      ASSERT_EQ(found.size(), count);
      for (size_t i = 0; i < count; ++i) EXPECT_EQ(found[i].id, sorted[i].id) << size << " " << count;
    }
  }
}

TEST(Sampling, ExponentialsAreExactToSixDigits) {
  std::vector<float> row = {
      0, -1e-8f, -0.5f, -1, -10.25f, -50, -86.9f, -100, -1e30f, -std::numeric_limits<float>::infinity(), NAN};
  for (int i = 0; i < 4000; ++i) row.push_back(-static_cast<float>(i) / 50);
  std::vector<float> out(row.size());
  row_exp(row, 0, 1, out.data());
  double sum = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    const double exact = row[i] > -87 ? std::exp(static_cast<double>(row[i])) : 0;
    EXPECT_NEAR(out[i], exact, 5e-7 * exact) << row[i];
    sum += exact;
  }
  EXPECT_NEAR(sum_exp(row, 0, 1), sum, 1e-6 * sum);
}

TEST(Sampling, DrawsFromAllOfALargeRowFollowTheProbabilities) {
  std::vector<float> logits(10'000, std::log(0.5f / 9'997));
  logits[5] = std::log(0.2f);
  logits[7'000] = std::log(0.3f);
  logits[9'999] = -std::numeric_limits<float>::infinity();
  const auto found = shares({}, logits);
  EXPECT_NEAR(found.at(5), 0.2, 0.05);
  EXPECT_NEAR(found.at(7'000), 0.3, 0.05);
  EXPECT_EQ(found.count(9'999), 0u);
  EXPECT_GT(found.size(), 300u);
}

TEST(Sampling, RowsWithoutANumberAreRefused) {
  for (const double temperature : {0.0, 1.0}) {
    SamplingOptions options;
    options.temperature = temperature;
    for (const float bad : {NAN, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()})
      EXPECT_THROW(Sampler(options, 4).sample(std::vector<float>(4, bad), {}, 0), Error) << bad;
    const std::vector<float> one = {NAN, 1, NAN, -std::numeric_limits<float>::infinity()};
    EXPECT_EQ(Sampler(options, 4).sample(one, {}, 0).id, 1);
  }
}

TEST(Sampling, BiasComesBeforePenalties) {
  SamplingOptions options;
  options.repetition_penalty = 2;
  options.logit_bias = {{0, 3.0f}};
  std::vector<float> scores = {-1};
  const std::vector<int32_t> prompt = {0};
  Sampler(options, 1).penalise(scores, {prompt, {}});
  EXPECT_EQ(scores[0], 1);
}

}  // namespace
}  // namespace lathe::llm
