#include "llm/sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/error.h"

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

}  // namespace
}  // namespace lathe::llm
