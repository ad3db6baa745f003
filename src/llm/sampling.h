// From logits to a token. The choice depends on the logits, the tokens so far, the seed and the number of the choice
// alone: random numbers are a function of where they are used, not of what was drawn before, so a request that is
// interrupted, or served beside others, draws the same.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lathe/llm.h"

namespace lathe::llm {

struct History {
  std::span<const int32_t> prompt, answer;
};

struct Drawn {
  int32_t id = 0;
  float logprob = 0;
  std::vector<TokenLogprob> top;
};

// The natural logarithms of the softmax.
std::vector<float> log_softmax(std::span<const float> logits);
// The `count` likeliest, likeliest first; of equal ones the first.
std::vector<TokenLogprob> likeliest(std::span<const float> logprobs, size_t count);

class Sampler {
 public:
  // Throws Error(invalid_argument) for options out of range, naming the option.
  Sampler(const SamplingOptions& options, int64_t vocabulary);

  Drawn sample(std::span<const float> logits, const History& history, int choice) const;
  // Bias and penalties, in place; the scores may be logits or logprobs.
  void penalise(std::span<float> scores, const History& history) const;

 private:
  bool changes_logits() const;
  int32_t choose(std::span<const float> scores, const History& history, int choice) const;

  SamplingOptions options_;
};

}  // namespace lathe::llm
