#include "llm/answer_rules.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lathe::llm {
namespace {

// The tokens of a vocabulary of eight that may follow.
std::vector<int32_t> allowed(const AnswerRules& rules, const std::vector<int32_t>& tokens) {
  std::vector<float> scores(8, 0.5F);
  rules.apply(scores, tokens);
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < 8; ++id)
    if (!std::isinf(scores[static_cast<size_t>(id)])) ids.push_back(id);
  EXPECT_TRUE(rules.applies(tokens) || ids.size() == scores.size());
  return ids;
}

using Ids = std::vector<int32_t>;
const Ids kAll = {0, 1, 2, 3, 4, 5, 6, 7};

// Prompts have two tokens, token 1 ends answers, and sequences end after eight.
AnswerRules made(const checkpoint::GenerationRules& rules, const Request& request = {}) {
  return {rules, request, {1}, 2, 8};
}

TEST(AnswerRules, NothingIsForbiddenWithoutRules) {
  for (const Ids& tokens : {Ids{3, 4}, Ids{3, 4, 3, 4}, Ids{1, 1, 1, 1, 1, 1, 1}}) {
    EXPECT_EQ(allowed(made({}), tokens), kAll);
    EXPECT_FALSE(made({}).applies(tokens));
  }
}

TEST(AnswerRules, AnswersDoNotEndBeforeTheirLength) {
  checkpoint::GenerationRules rules;
  rules.min_length = 4;
  EXPECT_EQ(allowed(made(rules), {3, 4, 5}), (Ids{0, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(allowed(made(rules), {3, 4, 5, 6}), kAll);
  rules.min_length = 0;
  rules.min_new_tokens = 1;
  EXPECT_EQ(allowed(made(rules), {3, 4}), (Ids{0, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(allowed(made(rules), {3, 4, 5}), kAll);
  Request request;
  request.min_tokens = 2;
  EXPECT_EQ(allowed(made(rules, request), {3, 4, 5}), (Ids{0, 2, 3, 4, 5, 6, 7}));
  request.min_tokens = 0;
  EXPECT_EQ(allowed(made(rules, request), {3, 4}), kAll);
}

TEST(AnswerRules, TokensInARowStandThereOnce) {
  Request request;
  request.no_repeat_ngram = 2;
  EXPECT_EQ(allowed(made({}, request), {3, 4, 3}), (Ids{0, 1, 2, 3, 5, 6, 7}));
  EXPECT_EQ(allowed(made({}, request), {3, 4, 3, 5, 3}), (Ids{0, 1, 2, 3, 6, 7}));
  request.no_repeat_ngram = 1;
  EXPECT_EQ(allowed(made({}, request), {3, 4}), (Ids{0, 1, 2, 5, 6, 7}));
  checkpoint::GenerationRules rules;
  rules.no_repeat_ngram = 3;
  EXPECT_EQ(allowed(made(rules), {3, 4, 5, 3, 4}), (Ids{0, 1, 2, 3, 4, 6, 7}));
  EXPECT_EQ(allowed(made(rules), {3, 4}), kAll);
}

TEST(AnswerRules, WordsAreNotCompleted) {
  checkpoint::GenerationRules rules;
  rules.bad_words = {{3, 4, 5}, {4, 6}, {2, 2, 2, 2, 2}};
  EXPECT_EQ(allowed(made(rules), {3, 4}), (Ids{0, 1, 2, 3, 4, 7}));
  EXPECT_EQ(allowed(made(rules), {2, 2, 2}), kAll);
  EXPECT_EQ(allowed(made(rules), {2, 2, 2, 2}), (Ids{0, 1, 3, 4, 5, 6, 7}));
}

TEST(AnswerRules, SomeTokensAreForbiddenAndSomeForced) {
  checkpoint::GenerationRules rules;
  rules.suppressed = {7};
  rules.suppressed_first = {0};
  EXPECT_EQ(allowed(made(rules), {3, 4}), (Ids{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(allowed(made(rules), {3, 4, 5}), (Ids{0, 1, 2, 3, 4, 5, 6}));
  rules.forced = {-1, 7};
  rules.forced_last = 1;
  EXPECT_EQ(allowed(made(rules), {3, 4}), (Ids{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(allowed(made(rules), {3, 4, 5}), Ids{7});
  EXPECT_EQ(allowed(made(rules), {3, 4, 5, 7}), (Ids{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(allowed(made(rules), {3, 4, 5, 7, 2, 2, 2}), Ids{1});
  Request request;
  request.ignore_eos = true;
  request.answer_start = {3, 4};
  EXPECT_EQ(allowed(made(rules, request), {3, 4}), (Ids{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(allowed(made(rules, request), {3, 4, 5, 7, 2, 2, 2}), (Ids{0, 1, 2, 3, 4, 5, 6}));
}

}  // namespace
}  // namespace lathe::llm
