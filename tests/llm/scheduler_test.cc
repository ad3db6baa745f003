#include "llm/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "base/error.h"
#include "toy_model.h"

namespace lathe::llm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A core on a toy, with what tests look at.
struct Bench {
  explicit Bench(const ToyOptions& options = {}) : Bench(options, scheduler_options(options)) {}
  Bench(const ToyOptions& options, const SchedulerOptions& scheduler)
      : toy(options), model(toy), core(model, scheduler) {}

  std::shared_ptr<Scheduled> add(Request request) {
    auto scheduled = std::make_shared<Scheduled>(std::move(request), model, nullptr);
    core.add(scheduled);
    return scheduled;
  }
  void run() {
    while (core.step()) continue;
  }
  int64_t free_blocks() const { return core.scheduler().pool().available(); }

  ToyOptions toy;
  ToyModel model;
  EngineCore core;
};

Request greedy(std::vector<int32_t> prompt, int64_t max_tokens = 8) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  request.ignore_eos = true;
  return request;
}

std::vector<int32_t> counting(int32_t first, int32_t count) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < count; ++i) ids.push_back(2 + (first + i) % 20);
  return ids;
}

TEST(Scheduler, LongPromptsTakeSeveralStepsAndAnswersGoOnBesideThem) {
  ToyOptions toy;
  SchedulerOptions options = scheduler_options(toy);
  options.step_tokens = 6;
  Bench bench(toy, options);
  const auto first = bench.add(greedy({5}, 10));
  ASSERT_TRUE(bench.core.step());
  const auto second = bench.add(greedy(counting(0, 20), 2));
  // Each step has one token for the first request and five for the second.
  for (int step = 0; step < 4; ++step) ASSERT_TRUE(bench.core.step());
  EXPECT_EQ(first->sequences[0].length(), 1 + 5);
  EXPECT_EQ(second->sequences[0].length(), 20 + 1);
  EXPECT_EQ(bench.model.largest_step, 6);
  bench.run();
  EXPECT_EQ(first->wait().choices[0].ids(), answers_alone(bench.model, first->request())[0]);
  EXPECT_EQ(second->wait().choices[0].ids(), answers_alone(bench.model, second->request())[0]);
}

TEST(Scheduler, AllOfAPrefixIsComputedInOneStep) {
  ToyOptions toy;
  toy.prefix = true;
  SchedulerOptions options = scheduler_options(toy);
  options.step_tokens = 4;
  Bench bench(toy, options);
  std::vector<int32_t> prompt = counting(0, 10);
  prompt.push_back(0);
  prompt.push_back(7);
  const auto beside = bench.add(greedy({9}, 6));
  const auto request = bench.add(greedy(prompt, 4));
  bench.run();
  EXPECT_EQ(bench.model.largest_step, 10);
  EXPECT_EQ(request->wait().choices[0].ids(), answers_alone(bench.model, request->request())[0]);
  EXPECT_EQ(beside->wait().choices[0].ids(), answers_alone(bench.model, beside->request())[0]);
}

TEST(Scheduler, PromptsThatBeginAlikeShareBlocksAndAnswerTheSame) {
  Bench bench;
  const std::vector<int32_t> prompt = counting(3, 18);
  const auto first = bench.add(greedy(prompt));
  bench.run();
  const int64_t before = bench.model.tokens;
  const auto second = bench.add(greedy(prompt));
  bench.run();
  EXPECT_EQ(second->wait().timing.cached_tokens, 16);
  EXPECT_EQ(bench.model.tokens - before, 18 - 16 + 7);
  EXPECT_EQ(second->wait().choices[0].ids(), first->wait().choices[0].ids());

  // The answer is remembered, too.
  std::vector<int32_t> longer = prompt;
  const std::vector<int32_t> answer = first->wait().choices[0].ids();
  longer.insert(longer.end(), answer.begin(), answer.end());
  longer.push_back(9);
  const auto third = bench.add(greedy(longer));
  bench.run();
  EXPECT_EQ(third->wait().timing.cached_tokens, 24);
  EXPECT_EQ(third->wait().choices[0].ids(), answers_alone(bench.model, third->request())[0]);

  Request salted = greedy(prompt);
  salted.cache_salt = "somebody else";
  const auto fourth = bench.add(salted);
  bench.run();
  EXPECT_EQ(fourth->wait().timing.cached_tokens, 0);
}

TEST(Scheduler, SequencesThatGrowBeyondALengthAreComputedAgain) {
  ToyOptions toy;
  toy.long_from = 10;
  Bench bench(toy);
  Request request = greedy(counting(0, 7), 12);
  request.n = 2;
  request.sampling.temperature = 1;
  const auto several = bench.add(request);
  bench.run();
  const std::vector<std::vector<int32_t>> alone = answers_alone(bench.model, request);
  for (size_t i = 0; i < alone.size(); ++i) EXPECT_EQ(several->wait().choices[i].ids(), alone[i]);
  // The prompt once, three tokens each that were not there then; then 11 tokens each, and seven more one by one.
  EXPECT_EQ(bench.model.tokens, 7 + 2 * (3 + 11 + 7));

  // What longer sequences have computed is of use to them alone.
  const auto longer = bench.add(greedy(counting(0, 12), 2)), shorter = bench.add(greedy(counting(0, 8), 2));
  bench.run();
  EXPECT_EQ(longer->wait().timing.cached_tokens, 4);
  EXPECT_EQ(shorter->wait().timing.cached_tokens, 4);
  for (const auto& one : {longer, shorter})
    EXPECT_EQ(one->wait().choices[0].ids(), answers_alone(bench.model, one->request())[0]);
}

TEST(Scheduler, PreemptedRequestsGoOnFromCopiesOfTheirBlocks) {
  ToyOptions toy;
  toy.blocks = 8;
  toy.saved_blocks = 8;
  Request request = greedy(counting(0, 10), 14);
  int64_t tokens[2];
  for (const bool saves : {false, true}) {
    toy.saved_blocks = saves ? 8 : 0;
    SchedulerOptions options = scheduler_options(toy);
    options.prefix_cache = false;
    Bench bench(toy, options);
    const auto first = bench.add(request), second = bench.add(greedy(counting(5, 10), 14));
    bench.run();
    for (const auto& one : {first, second})
      EXPECT_EQ(one->wait().choices[0].ids(), answers_alone(bench.model, one->request())[0]);
    EXPECT_EQ(bench.model.saves > 0, saves);
    EXPECT_EQ(bench.core.scheduler().saved_pool().available(), toy.saved_blocks);
    tokens[saves] = bench.model.tokens;
  }
  EXPECT_EQ(tokens[1], 2 * (10 + 13));
  EXPECT_GT(tokens[0], tokens[1]);
}

TEST(Scheduler, APromptThatIsCachedWholeStillComputesItsLastToken) {
  Bench bench;
  for (int i = 0; i < 2; ++i) {
    const auto request = bench.add(greedy(counting(1, 16), 3));
    bench.run();
    EXPECT_EQ(request->wait().timing.cached_tokens, i == 0 ? 0 : 12);
    EXPECT_EQ(request->wait().choices[0].ids(), answers_alone(bench.model, request->request())[0]);
  }
}

TEST(Scheduler, TheYoungestGivesItsBlocksBackAndIsComputedAgain) {
  ToyOptions toy;
  toy.blocks = 8;
  Bench bench(toy);
  const auto first = bench.add(greedy(counting(0, 8), 20));
  const auto second = bench.add(greedy(counting(5, 8), 20));
  bool waited = false;
  while (bench.core.step()) {
    const auto& waiting = bench.core.scheduler().waiting();
    waited |= !waiting.empty() && waiting.front() == second.get() && second->sequences[0].length() > 8;
    ASSERT_TRUE(waiting.empty() || waiting.front() != first.get());
  }
  EXPECT_TRUE(waited);
  for (const auto& request : {first, second})
    EXPECT_EQ(request->wait().choices[0].ids(), answers_alone(bench.model, request->request())[0]);
  EXPECT_EQ(bench.free_blocks(), 8);
}

TEST(Scheduler, CancelledRequestsGiveTheirBlocksBackAtTheNextStep) {
  Bench bench;
  const auto request = bench.add(greedy(counting(0, 12), 30));
  const auto other = bench.add(greedy(counting(9, 4), 3));
  ASSERT_TRUE(bench.core.step());
  EXPECT_EQ(bench.free_blocks(), 64 - 3 - 1);
  request->cancel();
  ASSERT_TRUE(bench.core.step());
  EXPECT_TRUE(request->done());
  EXPECT_EQ(bench.free_blocks(), 64 - 2);
  EXPECT_EQ(request->wait().choices[0].finish, FinishReason::cancelled);
  EXPECT_EQ(request->wait().choices[0].tokens.size(), 1u);
  bench.run();
  EXPECT_EQ(other->wait().choices[0].finish, FinishReason::length);
}

TEST(Scheduler, ChoicesShareThePromptAndCopyTheBlockInWhichTheyPart) {
  Bench bench;
  Request request = greedy(counting(0, 10), 6);
  request.n = 3;
  request.sampling.temperature = 2;
  const auto scheduled = bench.add(request);
  ASSERT_TRUE(bench.core.step());
  EXPECT_EQ(bench.model.tokens, 10);
  EXPECT_EQ(bench.free_blocks(), 64 - 3);
  ASSERT_TRUE(bench.core.step());
  EXPECT_EQ(bench.free_blocks(), 64 - 5);
  bench.run();
  const std::vector<std::vector<int32_t>> alone = answers_alone(bench.model, request);
  EXPECT_NE(alone[0], alone[1]);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(scheduled->wait().choices[i].ids(), alone[i]);
  EXPECT_EQ(bench.free_blocks(), 64);
}

// Two choices are computed again after a preemption. The first fills the block in which they part, so that the cache
// knows it, and ends; the second writes its own tokens into it.
TEST(Scheduler, ABlockThatIsWrittenAgainIsForgotten) {
  struct PlainTask : Task {
    explicit PlainTask(std::vector<int32_t> prompt, size_t choices) {
      prompt_tokens = static_cast<int64_t>(prompt.size());
      max_length = 20;
      width = choices;
      sequences.resize(choices);
      for (Sequence& sequence : sequences) sequence.tokens = prompt;
    }
  };
  Scheduler scheduler(scheduler_options({}));
  PlainTask choices(counting(0, 6), 2);
  for (size_t i = 0; i < 2; ++i)
    for (int32_t token = 0; token < 3; ++token)
      choices.sequences[i].tokens.push_back(static_cast<int32_t>(10 * (i + 1)) + token);
  const std::vector<int32_t> first = choices.sequences[0].tokens;
  scheduler.add(choices);
  scheduler.complete(scheduler.next());
  choices.sequences[0].finished = true;
  scheduler.release(choices.sequences[0]);
  scheduler.complete(scheduler.next());
  EXPECT_EQ(choices.sequences[1].computed, 9);

  PlainTask other(first, 1);
  scheduler.add(other);
  const Decision decision = scheduler.next();
  EXPECT_EQ(other.cached_tokens, 4);
  ASSERT_EQ(decision.pieces.size(), 1u);
  EXPECT_EQ(decision.pieces[0].first, 4);
}

TEST(Scheduler, LogitsOfEveryTokenOfThePromptComeOnceAndInOrder) {
  ToyOptions toy;
  toy.blocks = 8;
  SchedulerOptions options = scheduler_options(toy);
  options.step_tokens = 3;
  Bench bench(toy, options);
  const std::vector<int32_t> prompt = counting(0, 10);
  for (int i = 0; i < 2; ++i) {  // the second time the prompt is cached, and computed all the same
    std::vector<int64_t> positions;
    Request request = greedy(prompt, 4);
    request.on_prompt_logits = [&](int64_t position, std::span<const float> logits) {
      positions.push_back(position);
      const auto part = std::span(prompt).first(static_cast<size_t>(position) + 1);
      EXPECT_EQ(std::vector<float>(logits.begin(), logits.end()), bench.model.logits_of(part, *bench.model.layout({})));
    };
    const auto scheduled = bench.add(request);
    bench.run();
    EXPECT_THAT(positions, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
    EXPECT_EQ(scheduled->wait().choices[0].ids(), answers_alone(bench.model, request)[0]);
  }
}

TEST(Scheduler, WhatCanNeverFitIsRefused) {
  ToyOptions toy;
  toy.blocks = 4;
  Bench bench(toy);
  const auto refusal = [&](Request request) -> std::string {
    try {
      bench.add(std::move(request));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(refusal(greedy(counting(0, 10), 7)), "");  // 16 tokens are computed
  EXPECT_THAT(refusal(greedy(counting(0, 10), 8)), HasSubstr("5 cache blocks of 4 tokens, there are 4"));
  Request many = greedy(counting(0, 4), 4);
  many.n = 9;
  EXPECT_THAT(refusal(many), HasSubstr("9 sequences"));
  many.n = 3;
  EXPECT_EQ(refusal(many), "");
  many.n = 4;
  EXPECT_THAT(refusal(many), HasSubstr("5 cache blocks"));
  EXPECT_THAT(refusal(greedy({})), HasSubstr("empty"));
  EXPECT_THAT(refusal(greedy({24})), HasSubstr("24"));
  EXPECT_THAT(refusal(greedy({-1})), HasSubstr("-1"));
  EXPECT_THAT(refusal(greedy(counting(0, 65))), HasSubstr("context"));
  EXPECT_THAT(refusal(greedy({3}, 0)), HasSubstr("at least one token"));
}

TEST(Scheduler, AnswersEndWhereTheContextEnds) {
  Bench bench;
  const auto request = bench.add(greedy(counting(0, 60), 100));
  bench.run();
  EXPECT_EQ(request->wait().choices[0].tokens.size(), 4u);
  EXPECT_EQ(request->wait().choices[0].finish, FinishReason::length);
}

TEST(Scheduler, APromptThatFillsTheContextHasOneToken) {
  Bench bench;
  const auto request = bench.add(greedy(counting(0, 64), 100));
  bench.run();
  EXPECT_EQ(request->wait().choices[0].ids(), answers_alone(bench.model, request->request())[0]);
  EXPECT_EQ(request->wait().choices[0].tokens.size(), 1u);
}

TEST(Scheduler, WhatTheModelThrowsEndsTheRequestsOfThatStepOnly) {
  Bench bench;
  bench.model.fail_at_step = 1;
  const auto request = bench.add(greedy(counting(0, 6)));
  ASSERT_TRUE(bench.core.step());
  ASSERT_TRUE(bench.core.step());
  EXPECT_EQ(bench.free_blocks(), 64);
  EXPECT_TRUE(request->next().has_value());
  EXPECT_THROW(request->next(), Error);
  EXPECT_THROW(request->wait(), Error);
  const auto later = bench.add(greedy(counting(0, 6)));
  bench.run();
  EXPECT_EQ(later->wait().choices[0].ids(), answers_alone(bench.model, later->request())[0]);
}

TEST(Scheduler, ThreadsShareTheChoosingOfTokens) {
  ToyOptions toy;
  toy.vocabulary = 20'000;
  SchedulerOptions options = scheduler_options(toy);
  options.sampling_threads = 3;
  Bench bench(toy, options);
  std::vector<std::shared_ptr<Scheduled>> requests;
  for (int32_t i = 0; i < 4; ++i) {
    Request request = greedy(counting(3 * i, 5 + i), 4);
    request.n = 1 + i % 2;
    if (i > 0) request.sampling.temperature = 0.8, request.sampling.top_p = 0.9;
    requests.push_back(bench.add(request));
  }
  bench.run();
  for (const auto& request : requests) {
    const auto alone = answers_alone(bench.model, request->request());
    for (size_t c = 0; c < alone.size(); ++c) EXPECT_EQ(request->wait().choices[c].ids(), alone[c]);
  }
}

// A step brings logits if any of its requests looks at more of them than the likeliest token.
TEST(Scheduler, LogitsStayWithTheModelWhereOnlyTheLikeliestTokensAreWanted) {
  struct Answers {
    std::vector<std::vector<int32_t>> ids;
    int64_t steps, choices;
  };
  const auto serve = [](const Request& other, bool chooses) {
    Bench bench;
    bench.model.chooses = chooses;
    Request several = greedy(counting(0, 6));
    several.n = 2;
    Answers answers;
    const std::vector<std::shared_ptr<Scheduled>> requests = {bench.add(several), bench.add(other)};
    bench.run();
    for (const auto& request : requests)
      for (const Choice& choice : request->wait().choices) answers.ids.push_back(choice.ids());
    answers.steps = bench.model.steps;
    answers.choices = bench.model.choices;
    return answers;
  };
  const auto steps_without = [&](const Request& other) {
    const Answers answers = serve(other, true);
    EXPECT_EQ(answers.ids, serve(other, false).ids);
    return std::pair(answers.choices, answers.steps);
  };
  const Request plain = greedy(counting(3, 9), 8);
  const auto [all, steps] = steps_without(plain);
  EXPECT_EQ(all, steps);
  std::vector<Request> others(6, plain);
  others[0].sampling.temperature = 0.7;
  others[1].sampling.repetition_penalty = 1.3;
  others[2].sampling.logprobs = 0;
  others[3].beam.beams = 2;
  others[4].no_repeat_ngram = 2;
  others[5].sampling.logit_bias = {{3, 1.5f}};
  for (const Request& other : others) EXPECT_EQ(steps_without(other).first, 0);
  Request reporting = plain;  // its prompt is one step's
  reporting.on_prompt_logits = [](int64_t, std::span<const float> logits) { EXPECT_TRUE(std::isfinite(logits[0])); };
  EXPECT_EQ(steps_without(reporting).first, steps - 1);
}

class SchedulerErrors : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(ModelChooses, SchedulerErrors, testing::Bool());

TEST_P(SchedulerErrors, WhatChoosingATokenThrowsEndsThatRequestOnly) {
  Bench bench;
  bench.model.chooses = GetParam();
  bench.model.poison = 23;
  const auto first = bench.add(greedy(counting(0, 6)));
  Request poisoned = greedy({23, 2});
  poisoned.n = 3;
  const auto bad_logits = bench.add(poisoned);
  Request reporting = greedy(counting(5, 6));
  reporting.on_prompt_logits = [](int64_t position, std::span<const float>) {
    if (position == 3) throw std::runtime_error("not this one");
  };
  const auto bad_report = bench.add(reporting);
  Request counted = greedy(counting(3, 4));
  counted.on_token = [tokens = 0](const Token&) mutable {
    if (++tokens == 2) throw std::runtime_error("enough");
  };
  const auto bad_callback = bench.add(counted);
  const auto last = bench.add(greedy(counting(7, 3)));
  bench.run();
  EXPECT_EQ(first->wait().choices[0].ids(), answers_alone(bench.model, first->request())[0]);
  EXPECT_EQ(last->wait().choices[0].ids(), answers_alone(bench.model, last->request())[0]);
  EXPECT_THROW(bad_logits->wait(), Error);
  EXPECT_THROW(bad_report->wait(), std::runtime_error);
  EXPECT_THROW(bad_callback->wait(), std::runtime_error);
  EXPECT_EQ(bench.free_blocks(), 64);
}

TEST(Scheduler, AnAnswerThatMaySayNothingMoreIsNoFaultOfTheModel) {
  Bench bench;
  Request request = greedy({2, 3}, 40);  // of a vocabulary of 24
  request.no_repeat_ngram = 1;
  const auto ended = bench.add(request);
  bench.run();
  try {
    ended->wait();
    FAIL() << "it said everything twice";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_THAT(error.what(), HasSubstr("repetitions"));
  }
}

}  // namespace
}  // namespace lathe::llm
