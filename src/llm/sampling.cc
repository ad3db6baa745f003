#include "llm/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace lathe::llm {
namespace {

// By which a threshold lies below what it is to let through: exponents are rounded, scores are not.
constexpr float kMargin = 0.01f;

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

// Fails where there is nothing to choose by.
float check_finite(float top) {
  if (!std::isfinite(top)) fail(ErrorCode::invalid_model, "the model's logits are not finite numbers");
  return top;
}
float finite_max(std::span<const float> logits) { return check_finite(row_max(logits)); }

double log_of_sum(std::span<const float> logits) {
  const float top = row_max(logits);
  return top + std::log(sum_exp(logits, top, 1));
}

double add_weight(double sum, const Candidate& candidate) { return sum + candidate.weight; }

double total_weight(const std::vector<Candidate>& candidates) {
  return std::accumulate(candidates.begin(), candidates.end(), 0.0, add_weight);
}

// Moves to the front, in no order, the first items by `before` whose weights reach the mass, the one that reaches it
// included, one at least. Returns how many they are. Selects as nth_element does: time grows with the items only.
template <class Item, class Before>
size_t move_mass_to_front(std::vector<Item>& items, double mass, const Before& before) {
  constexpr size_t kFewEnoughToSort = 32;
  const auto at = [&](size_t index) { return items.begin() + static_cast<std::ptrdiff_t>(index); };
  size_t begin = 0, end = items.size();
  while (end - begin > kFewEnoughToSort) {
    const size_t middle = begin + (end - begin) / 2;
    std::nth_element(at(begin), at(middle), at(end), before);
    const double held = std::accumulate(at(begin), at(middle), 0.0, add_weight);
    if (held >= mass) {
      end = middle;
    } else {
      mass -= held;
      begin = middle;
    }
  }
  std::sort(at(begin), at(end), before);
  while (begin < end && (begin == 0 || mass > 0)) mass -= items[begin++].weight;
  return begin;
}

void keep_likeliest(std::vector<Candidate>& candidates, double mass) {
  candidates.resize(move_mass_to_front(candidates, mass, [](const Candidate& a, const Candidate& b) {
    return a.log_weight != b.log_weight ? a.log_weight > b.log_weight : a.id < b.id;
  }));
}

// Locally typical sampling (Meister et al. 2022): those whose information is nearest to the entropy, until they hold
// `share` of the whole. Ones as near as the last stay too.
void keep_typical(std::vector<Candidate>& candidates, double share) {
  struct Near : Candidate {
    double distance;
  };
  const double total = total_weight(candidates);
  double mean_log_weight = 0;
  for (const Candidate& candidate : candidates)
    if (candidate.weight > 0) mean_log_weight += candidate.weight / total * candidate.log_weight;
  std::vector<Near> by_distance;
  by_distance.reserve(candidates.size());
  for (const Candidate& candidate : candidates)
    by_distance.push_back({candidate, std::abs(candidate.log_weight - mean_log_weight)});
  const size_t kept = move_mass_to_front(by_distance, share * total, [](const Near& a, const Near& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
  });
  double farthest = 0;
  for (size_t i = 0; i < kept; ++i) farthest = std::max(farthest, by_distance[i].distance);
  candidates.clear();
  for (const Near& candidate : by_distance)
    if (candidate.distance <= farthest) candidates.push_back(candidate);
}

}  // namespace

Drawn take(const Likeliest& likeliest) {
  check_finite(likeliest.logit);
  return {static_cast<int32_t>(likeliest.id), 0, {}};
}

std::vector<float> log_softmax(std::span<const float> logits) {
  const double shift = log_of_sum(logits);
  std::vector<float> result(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) result[i] = static_cast<float>(logits[i] - shift);
  return result;
}

std::vector<TokenLogprob> likeliest(std::span<const float> logprobs, size_t count) {
  count = std::min(count, logprobs.size());
  if (count == 0) return {};
  std::vector<Scored> found = at_least(logprobs, kth_largest(logprobs, count));
  count = std::min(count, found.size());
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count), found.end(), precedes);
  std::vector<TokenLogprob> out(count);
  for (size_t i = 0; i < count; ++i) out[i] = {found[i].id, found[i].score};
  return out;
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
  for (const auto& [id, bias] : options.logit_bias) {
    if (id < 0 || id >= vocabulary)
      fail(ErrorCode::invalid_argument, "the bias of token {} is no good: ids are below {}", id, vocabulary);
    if (std::isnan(bias) || bias == std::numeric_limits<float>::infinity())
      fail(ErrorCode::invalid_argument, "the bias of token {} is {}, it must be a number, or -inf: never", id, bias);
  }
}

void Sampler::penalise(std::span<float> scores, const History& history) const {
  for (const auto& [id, bias] : options_.logit_bias) scores[static_cast<size_t>(id)] += bias;
  const auto at_first_sight = [&](std::vector<bool>& seen, int32_t id) {
    const bool first = !seen[static_cast<size_t>(id)];
    seen[static_cast<size_t>(id)] = true;
    return first;
  };
  if (options_.repetition_penalty != 1) {
    const auto penalty = static_cast<float>(options_.repetition_penalty);
    std::vector<bool> seen(scores.size());
    for (const auto& tokens : {history.prompt, history.answer})
      for (const int32_t id : tokens) {
        float& score = scores[static_cast<size_t>(id)];
        if (at_first_sight(seen, id)) score = score < 0 ? score * penalty : score / penalty;
      }
  }
  if (options_.presence_penalty == 0 && options_.frequency_penalty == 0) return;
  std::vector<bool> seen(scores.size());
  for (const int32_t id : history.answer) {
    const double presence = at_first_sight(seen, id) ? options_.presence_penalty : 0;
    scores[static_cast<size_t>(id)] -= static_cast<float>(options_.frequency_penalty + presence);
  }
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
    const double shift = log_of_sum(logits);
    const auto logprob = [&](float logit) { return static_cast<float>(logit - shift); };
    drawn.logprob = logprob(logits[static_cast<size_t>(drawn.id)]);
    drawn.top = likeliest(logits, static_cast<size_t>(options_.logprobs));
    for (TokenLogprob& token : drawn.top) token.logprob = logprob(token.logprob);
  }
  return drawn;
}

bool Sampler::takes_likeliest() const { return is_greedy() && !changes_logits() && options_.logprobs < 0; }

bool Sampler::is_greedy() const { return options_.temperature == 0 || options_.top_k == 1; }

bool Sampler::changes_logits() const {
  return options_.repetition_penalty != 1 || options_.presence_penalty != 0 || options_.frequency_penalty != 0 ||
         !options_.logit_bias.empty();
}

bool Sampler::cuts() const {
  return options_.top_k > 0 || options_.top_p < 1 || options_.min_p > 0 || options_.typical_p < 1;
}

int32_t Sampler::choose(std::span<const float> scores, const History& history, int choice) const {
  if (is_greedy()) {
    const int32_t id = row_argmax(scores);
    check_finite(scores[static_cast<size_t>(id)]);
    return id;
  }
  const double draw = uniform(options_.seed, static_cast<uint64_t>(choice), history.answer.size());
  if (!cuts()) return draw_from_all(scores, draw);
  const std::vector<Candidate> left = candidates(scores);
  double rest = draw * total_weight(left);
  size_t pick = 0;
  while (pick + 1 < left.size() && (rest -= left[pick].weight) >= 0) ++pick;
  return left[pick].id;
}

// Finds the stretch of the row in which the draw falls, then the token, without keeping any weights.
int32_t Sampler::draw_from_all(std::span<const float> scores, double draw) const {
  constexpr size_t kStretch = 2048;
  const float top = finite_max(scores);
  std::vector<double> masses;
  for (size_t i = 0; i < scores.size(); i += kStretch)
    masses.push_back(sum_exp(scores.subspan(i, std::min(kStretch, scores.size() - i)), top, scale()));
  double rest = draw * std::accumulate(masses.begin(), masses.end(), 0.0);
  size_t stretch = 0;
  while (stretch + 1 < masses.size() && rest >= masses[stretch]) rest -= masses[stretch++];
  const size_t begin = stretch * kStretch, end = std::min(begin + kStretch, scores.size());
  std::vector<float> weights(end - begin);
  row_exp(scores.subspan(begin, end - begin), top, scale(), weights.data());
  size_t last = begin;  // of those that can be drawn, where rounding leaves something over
  for (size_t i = begin; i < end; ++i) {
    if (weights[i - begin] == 0) continue;
    last = i;
    if ((rest -= weights[i - begin]) < 0) break;
  }
  return static_cast<int32_t>(last);
}

// A score such that the tokens at or above it hold `share` of the weights of all, though perhaps some more; how much
// that is becomes `mass`.
float Sampler::threshold_of(double share, std::span<const float> scores, float top, double& mass) const {
  std::vector<float> weights(scores.size());
  row_exp(scores, top, scale(), weights.data());
  mass = share * sum_above(weights, 0);
  for (const float depth : {2.0f, 4.0f, 6.0f, 8.0f, 10.0f, 13.0f, 16.0f})
    if (sum_above(weights, std::exp(-depth)) > mass)
      return static_cast<float>(top - (depth + kMargin) * options_.temperature);
  return -std::numeric_limits<float>::infinity();
}

std::vector<Candidate> Sampler::weighed(const std::vector<Scored>& tokens, float top) const {
  std::vector<float> scores(tokens.size()), weights(tokens.size());
  std::transform(tokens.begin(), tokens.end(), scores.begin(), [](const Scored& token) { return token.score; });
  row_exp(scores, top, scale(), weights.data());
  std::vector<Candidate> out(tokens.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = {tokens[i].id, (scores[i] - top) * scale(), weights[i]};
  return out;
}

std::vector<Candidate> Sampler::candidates(std::span<const float> scores) const {
  const float top = finite_max(scores);
  const bool shares_whole = options_.top_k == 0 && options_.top_p < 1;
  double mass = 0;
  float threshold = -std::numeric_limits<float>::infinity();
  if (shares_whole)
    threshold = threshold_of(options_.top_p, scores, top, mass);
  else if (options_.top_k > 0)
    threshold = kth_largest(scores, std::min(static_cast<size_t>(options_.top_k), scores.size()));
  else if (options_.min_p > 0)
    threshold = static_cast<float>(top + (std::log(options_.min_p) - kMargin) * options_.temperature);
  std::vector<Candidate> left = weighed(at_least(scores, threshold), top);
  if (!shares_whole) mass = options_.top_p * total_weight(left);
  if (options_.top_p < 1) keep_likeliest(left, mass);
  if (options_.min_p > 0)
    left.erase(
        std::remove_if(left.begin(), left.end(),
                       [&](const Candidate& token) { return token.weight < static_cast<float>(options_.min_p); }),
        left.end());
  if (options_.typical_p < 1) keep_typical(left, options_.typical_p);
  return left;
}

}  // namespace lathe::llm
