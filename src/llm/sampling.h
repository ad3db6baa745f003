// From logits to a token. The choice depends on the logits, the tokens so far, the seed and the number of the choice
// alone: random numbers are a function of where they are used, not of what was drawn before, so a request that is
// interrupted, or served beside others, draws the same.
//
// The steps, in this order, are those of Hugging Face's `generate`: bias; the repetition penalty; the frequency and
// presence penalties of the OpenAI API; temperature; top-k (tokens as likely as the k-th stay too); top-p (the
// likeliest until their share reaches p, the one that reaches it included); min-p (at least p times as likely as the
// likeliest); typical-p (the ones of most usual information until their share reaches p). Each cut sees what the ones
// before left.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lathe/llm.h"
#include "llm/row_math.h"
#include "llm/step_model.h"

namespace lathe::llm {

struct History {
  std::span<const int32_t> prompt, answer;
};

struct Drawn {
  int32_t id = 0;
  float logprob = 0;
  std::vector<TokenLogprob> top;
};

// The token of a row whose logits are elsewhere. Throws Error(invalid_model) where they are not finite.
Drawn take(const Likeliest& likeliest);
// The natural logarithms of the softmax.
std::vector<float> log_softmax(std::span<const float> logits);
// The `count` likeliest, likeliest first; of equal ones the first.
std::vector<TokenLogprob> likeliest(std::span<const float> logprobs, size_t count);

// A token that can be drawn, as likely as its weight's share of the sum of all weights.
struct Candidate {
  int32_t id;
  float log_weight;  // 0 for the likeliest
  float weight;
};

class Sampler {
 public:
  // Throws Error(invalid_argument) for options out of range, naming the option.
  Sampler(const SamplingOptions& options, int64_t vocabulary);

  Drawn sample(std::span<const float> logits, const History& history, int choice) const;
  // Whether that is the likeliest token, whatever came before, and nothing else is told of it.
  bool takes_likeliest() const;
  // Bias and penalties, in place; the scores may be logits or logprobs.
  void penalise(std::span<float> scores, const History& history) const;
  // What temperature and cuts leave of the scores. The temperature must not be 0.
  std::vector<Candidate> candidates(std::span<const float> scores) const;

 private:
  bool is_greedy() const;
  bool changes_logits() const;
  bool cuts() const;
  int32_t choose(std::span<const float> scores, const History& history, int choice) const;
  int32_t draw_from_all(std::span<const float> scores, double draw) const;
  std::vector<Candidate> weighed(const std::vector<Scored>& tokens, float top) const;
  float threshold_of(double share, std::span<const float> scores, float top, double& mass) const;
  float scale() const { return static_cast<float>(1 / options_.temperature); }

  SamplingOptions options_;
};

}  // namespace lathe::llm
