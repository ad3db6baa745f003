#include "llm/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "base/error.h"

namespace lathe::llm {
namespace {

// SplitMix64 of Steele, Lea and Flood.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// In [0, 1).
double uniform(uint64_t seed, uint64_t choice, uint64_t index) {
  return static_cast<double>(mix(mix(mix(seed) ^ choice) ^ index) >> 11) * 0x1p-53;
}

void check_range(const char* name, double value, double low, double high) {
  if (!(value >= low && value <= high))
    fail(ErrorCode::invalid_argument, "{} is {}, it must be between {} and {}", name, value, low, high);
}

bool likelier(const TokenLogprob& a, const TokenLogprob& b) {
  return a.logprob != b.logprob ? a.logprob > b.logprob : a.id < b.id;
}

}  // namespace

std::vector<float> log_softmax(std::span<const float> logits) {
  const float top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit - top));
  const double shift = top + std::log(sum);
  std::vector<float> result(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) result[i] = static_cast<float>(logits[i] - shift);
  return result;
}

std::vector<TokenLogprob> likeliest(std::span<const float> logprobs, size_t count) {
  std::vector<TokenLogprob> all(logprobs.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = {static_cast<int32_t>(i), logprobs[i]};
  count = std::min(count, all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count), all.end(), likelier);
  all.resize(count);
  return all;
}

Sampler::Sampler(const SamplingOptions& options, int64_t vocabulary) : options_(options) {
  check_range("temperature", options.temperature, 0, 100);
  check_range("top-p", options.top_p, 0, 1);
  check_range("min-p", options.min_p, 0, 1);
  check_range("typical-p", options.typical_p, 0, 1);
  check_range("top-k", static_cast<double>(options.top_k), 0, 1e12);
  check_range("repetition penalty", options.repetition_penalty, 1e-3, 1e3);
  check_range("presence penalty", options.presence_penalty, -100, 100);
  check_range("frequency penalty", options.frequency_penalty, -100, 100);
  check_range("logprobs", options.logprobs, -1, static_cast<double>(vocabulary));
  for (const auto& [id, bias] : options.logit_bias)
    if (id < 0 || id >= vocabulary)
      fail(ErrorCode::invalid_argument, "the bias of token {} is no good: ids are below {}", id, vocabulary);
}

void Sampler::penalise(std::span<float> scores, const History& history) const {
  std::unordered_map<int32_t, int> answer;
  for (const int32_t id : history.answer) ++answer[id];
  if (options_.repetition_penalty != 1) {
    std::unordered_map<int32_t, int> seen = answer;
    for (const int32_t id : history.prompt) ++seen[id];
    const auto penalty = static_cast<float>(options_.repetition_penalty);
    for (const auto& [id, times] : seen) {
      float& score = scores[static_cast<size_t>(id)];
      score = score > 0 ? score / penalty : score * penalty;
    }
  }
  if (options_.presence_penalty != 0 || options_.frequency_penalty != 0)
    for (const auto& [id, times] : answer)
      scores[static_cast<size_t>(id)] -=
          static_cast<float>(options_.presence_penalty + options_.frequency_penalty * times);
  for (const auto& [id, bias] : options_.logit_bias) scores[static_cast<size_t>(id)] += bias;
}

Drawn Sampler::sample(std::span<const float> logits, const History& history, int choice) const {
  Drawn drawn;
  if (changes_logits()) {
    std::vector<float> scores(logits.begin(), logits.end());
    penalise(scores, history);
    drawn.id = choose(scores, history, choice);
  } else {
    drawn.id = choose(logits, history, choice);
  }
  if (options_.logprobs >= 0) {
    const std::vector<float> model = log_softmax(logits);
    drawn.logprob = model[static_cast<size_t>(drawn.id)];
    drawn.top = likeliest(model, static_cast<size_t>(options_.logprobs));
  }
  return drawn;
}

bool Sampler::changes_logits() const {
  return options_.repetition_penalty != 1 || options_.presence_penalty != 0 || options_.frequency_penalty != 0 ||
         !options_.logit_bias.empty();
}

int32_t Sampler::choose(std::span<const float> scores, const History& history, int choice) const {
  if (options_.temperature == 0 || options_.top_k == 1)
    return static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  std::vector<TokenLogprob> candidates =
      likeliest(scores, options_.top_k > 0 ? static_cast<size_t>(options_.top_k) : scores.size());
  const float top = candidates.front().logprob;
  double sum = 0;
  for (TokenLogprob& c : candidates)
    sum += c.logprob = static_cast<float>(std::exp((c.logprob - top) / options_.temperature));
  // The likeliest tokens until their share reaches top_p, the one that reaches it included.
  double mass = 0;
  size_t last = 0;
  while (last < candidates.size() && (last == 0 || mass < options_.top_p * sum)) mass += candidates[last++].logprob;
  double left = uniform(options_.seed, static_cast<uint64_t>(choice), history.answer.size()) * mass;
  size_t pick = 0;
  while (pick + 1 < last && (left -= candidates[pick].logprob) >= 0) ++pick;
  return candidates[pick].id;
}

}  // namespace lathe::llm
