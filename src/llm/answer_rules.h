// What may stand at the next place of an answer, whatever the model thinks of it: the rules that generation_config.json
// has for all answers, and those of a request. They take tokens away by giving them a score of minus infinity.
#pragma once

#include <span>
#include <vector>

#include "checkpoint/generation_rules.h"
#include "lathe/llm.h"

namespace lathe::llm {

class AnswerRules {
 public:
  // `stop_tokens` end an answer; `max_length` counts what the decoder begins with, `prompt_tokens`, too.
  AnswerRules(checkpoint::GenerationRules rules, const Request& request, std::vector<int32_t> stop_tokens,
              int64_t prompt_tokens, int64_t max_length);

  // Whether anything is said about what follows these tokens.
  bool applies(std::span<const int32_t> tokens) const;
  void apply(std::span<float> scores, std::span<const int32_t> tokens) const;

 private:
  bool may_not_end(std::span<const int32_t> tokens) const;
  // The one token that may follow; -1: it is not the only one.
  int32_t forced(std::span<const int32_t> tokens) const;
  int64_t answered(std::span<const int32_t> tokens) const { return std::ssize(tokens) - prompt_tokens_; }
  bool is_first(std::span<const int32_t> tokens) const { return answered(tokens) == std::ssize(rules_.forced); }

  checkpoint::GenerationRules rules_;
  std::vector<int32_t> stop_tokens_;
  int64_t prompt_tokens_, max_length_;
};

}  // namespace lathe::llm
