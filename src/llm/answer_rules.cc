#include "llm/answer_rules.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace lathe::llm {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

void forbid(std::span<float> scores, int32_t id) { scores[static_cast<size_t>(id)] = kNever; }

void forbid(std::span<float> scores, const std::vector<int32_t>& ids) {
  for (const int32_t id : ids) forbid(scores, id);
}

// What would make the last `size` tokens ones that have stood in a row before.
void forbid_repetition(std::span<float> scores, std::span<const int32_t> tokens, int64_t size) {
  if (size < 1 || std::ssize(tokens) < size) return;
  const auto known = static_cast<size_t>(size - 1);
  const std::span<const int32_t> tail = tokens.last(known);
  for (size_t i = 0; i + known < tokens.size(); ++i)
    if (std::equal(tail.begin(), tail.end(), tokens.begin() + static_cast<std::ptrdiff_t>(i)))
      forbid(scores, tokens[i + known]);
}

// What would complete the word.
void forbid_word(std::span<float> scores, std::span<const int32_t> tokens, const std::vector<int32_t>& word) {
  const size_t known = word.size() - 1;
  if (tokens.size() >= known && std::equal(word.begin(), word.end() - 1, tokens.last(known).begin()))
    forbid(scores, word.back());
}

}  // namespace

AnswerRules::AnswerRules(checkpoint::GenerationRules rules, const Request& request, std::vector<int32_t> stop_tokens,
                         int64_t prompt_tokens, int64_t max_length)
    : rules_(std::move(rules)),
      stop_tokens_(std::move(stop_tokens)),
      prompt_tokens_(prompt_tokens),
      max_length_(max_length) {
  if (!request.answer_start.empty()) rules_.forced.clear();
  if (request.ignore_eos) rules_.forced_last = -1;
  if (request.min_tokens) {
    rules_.min_new_tokens = *request.min_tokens;
    rules_.min_length = 0;
  }
  if (request.no_repeat_ngram) rules_.no_repeat_ngram = *request.no_repeat_ngram;
}

bool AnswerRules::may_not_end(std::span<const int32_t> tokens) const {
  return std::ssize(tokens) < rules_.min_length || answered(tokens) < rules_.min_new_tokens;
}

int32_t AnswerRules::forced(std::span<const int32_t> tokens) const {
  if (std::ssize(tokens) + 1 == max_length_ && rules_.forced_last >= 0) return rules_.forced_last;
  const int64_t index = answered(tokens);
  return index < std::ssize(rules_.forced) ? rules_.forced[static_cast<size_t>(index)] : -1;
}

bool AnswerRules::applies(std::span<const int32_t> tokens) const {
  return !rules_.suppressed.empty() || !rules_.bad_words.empty() || rules_.no_repeat_ngram > 0 ||
         (is_first(tokens) && !rules_.suppressed_first.empty()) || may_not_end(tokens) || forced(tokens) >= 0;
}

void AnswerRules::apply(std::span<float> scores, std::span<const int32_t> tokens) const {
  forbid(scores, rules_.suppressed);
  if (is_first(tokens)) forbid(scores, rules_.suppressed_first);
  if (may_not_end(tokens)) forbid(scores, stop_tokens_);
  forbid_repetition(scores, tokens, rules_.no_repeat_ngram);
  for (const std::vector<int32_t>& word : rules_.bad_words) forbid_word(scores, tokens, word);
  const int32_t only = forced(tokens);
  if (only < 0) return;
  std::fill(scores.begin(), scores.end(), kNever);
  scores[static_cast<size_t>(only)] = 0;
}

}  // namespace lathe::llm
