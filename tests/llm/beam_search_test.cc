#include "llm/beam_search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "llm/sampling.h"
#include "toy_model.h"

namespace lathe::llm {
namespace {

// Runs a search over a function from an answer to logprobs.
using Model = std::function<std::vector<float>(const std::vector<int32_t>&)>;

std::vector<BeamSearch::Finished> search(const BeamOptions& options, int64_t max_tokens, const Model& model) {
  BeamSearch beams(options, {0}, max_tokens);
  std::vector<std::vector<int32_t>> running = {{}};
  while (!running.empty()) {
    for (size_t i = running.size(); i-- > 0;) {  // in any order
      const std::vector<float> logprobs = model(running[i]);
      beams.offer(i, logprobs, logprobs, 0);
      beams.offer(i, logprobs, logprobs, 0);  // again, as after a preemption
    }
    std::vector<std::vector<int32_t>> next;
    for (const auto& [parent, token] : beams.advance()) {
      next.push_back(running[parent]);
      next.back().push_back(token.id);
    }
    running = std::move(next);
  }
  return beams.finished();
}

std::vector<int32_t> ids_of(const BeamSearch::Finished& beam) {
  std::vector<int32_t> ids;
  for (const Token& token : beam.tokens) ids.push_back(token.id);
  return ids;
}

Model toy() {
  return [](const std::vector<int32_t>& answer) {
    static const ToyModel model({.vocabulary = 4});
    std::vector<int32_t> ids = {3};
    ids.insert(ids.end(), answer.begin(), answer.end());
    return log_softmax(model.logits_of(ids, Layout()));
  };
}

// The best answer of all.
double best_of_all(const Model& model, std::vector<int32_t> answer, double sum, int64_t max_tokens, double penalty) {
  if ((!answer.empty() && answer.back() == 0) || static_cast<int64_t>(answer.size()) == max_tokens)
    return sum / std::pow(static_cast<double>(answer.size()), penalty);
  const std::vector<float> logprobs = model(answer);
  double best = -1e9;
  for (int32_t id = 0; id < 4; ++id) {
    answer.push_back(id);
    best = std::max(best, best_of_all(model, answer, sum + logprobs[static_cast<size_t>(id)], max_tokens, penalty));
    answer.pop_back();
  }
  return best;
}

TEST(BeamSearch, EnoughBeamsFindTheBestOfAll) {
  for (const double penalty : {0.0, 1.0, 2.0}) {
    BeamOptions options;
    options.beams = 200;
    options.length_penalty = penalty;
    options.stop = BeamOptions::Stop::never;
    const auto found = search(options, 4, toy());
    EXPECT_NEAR(found.front().score, best_of_all(toy(), {}, 0, 4, penalty), 1e-5);
    for (size_t i = 1; i < found.size(); ++i) EXPECT_LE(found[i].score, found[i - 1].score);
  }
}

// 0 ends at once with 0.4; behind 1 (0.35) and 2 (0.25), 0 is sure.
std::vector<float> fork(const std::vector<int32_t>& answer) {
  if (answer.empty()) return {std::log(0.4f), std::log(0.35f), std::log(0.25f), -100};
  return {0, -100, -100, -100};
}

TEST(BeamSearch, TheLengthPenaltyDecidesBetweenShortAndLong) {
  BeamOptions options;
  options.beams = 2;
  options.length_penalty = 0;
  EXPECT_EQ(ids_of(search(options, 5, fork).front()), (std::vector<int32_t>{0}));
  options.length_penalty = 1;  // log(0.35) / 2 is above log(0.4)
  EXPECT_EQ(ids_of(search(options, 5, fork).front()), (std::vector<int32_t>{1, 0}));
}

TEST(BeamSearch, StoppingAtTheFirstMissesWhatWouldBeBetter) {
  // 0 is likeliest at once and again; 1, 1, 0 would be better on average.
  const Model model = [](const std::vector<int32_t>& answer) -> std::vector<float> {
    if (answer.size() < 2) return {std::log(0.5f), std::log(0.45f), std::log(0.05f), -100};
    return {0, -100, -100, -100};
  };
  BeamOptions options;
  options.beams = 2;
  options.length_penalty = 3;
  options.stop = BeamOptions::Stop::first;
  const auto first = search(options, 8, model);
  options.stop = BeamOptions::Stop::never;
  const auto never = search(options, 8, model);
  EXPECT_EQ(ids_of(never.front()), (std::vector<int32_t>{1, 1, 0}));
  EXPECT_LT(first.front().score, never.front().score);
}

TEST(BeamSearch, WhatEndsTogetherIsWeighedTogether) {
  // One beam ends at once with little; at the second token two better ones end, and the best two count.
  const Model model = [](const std::vector<int32_t>& answer) -> std::vector<float> {
    if (answer.empty()) return {std::log(0.3f), std::log(0.4f), std::log(0.2f), std::log(0.1f)};
    return {0, -100, -100, -100};
  };
  BeamOptions options;
  options.beams = 2;
  options.length_penalty = 2;
  options.stop = BeamOptions::Stop::first;
  const auto found = search(options, 8, model);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(ids_of(found[0]), (std::vector<int32_t>{1, 0}));
  EXPECT_EQ(ids_of(found[1]), (std::vector<int32_t>{2, 0}));
}

TEST(BeamSearch, AtTheLastTokenEverythingEnds) {
  BeamOptions options;
  options.beams = 2;
  const auto found = search(options, 1, fork);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_TRUE(found[0].stopped);
  EXPECT_FALSE(found[1].stopped);
  EXPECT_EQ(ids_of(found[1]), (std::vector<int32_t>{1}));
}

}  // namespace
}  // namespace lathe::llm
