#include "llm/beam_search.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "llm/sampling.h"

namespace lathe::llm {

BeamSearch::BeamSearch(const BeamOptions& options, std::vector<int32_t> stop_tokens, int64_t max_tokens)
    : options_(options), stop_tokens_(std::move(stop_tokens)), max_tokens_(max_tokens) {}

void BeamSearch::offer(size_t beam, std::span<const float> scores, std::span<const float> logprobs, int top) {
  Running& running = running_[beam];
  if (running.offered) return;  // a preempted beam is computed again
  running.offered = true;
  const size_t kept = std::max<size_t>(2, 1 + stop_tokens_.size()) * static_cast<size_t>(options_.beams);
  const std::vector<TokenLogprob> tops =
      top > 0 ? likeliest(logprobs, static_cast<size_t>(top)) : std::vector<TokenLogprob>();
  for (const TokenLogprob& next : likeliest(scores, kept)) {
    if (std::isinf(next.logprob)) break;  // ruled out, as all that follow
    const bool stops = std::find(stop_tokens_.begin(), stop_tokens_.end(), next.id) != stop_tokens_.end();
    Token token;
    token.id = next.id;
    token.logprob = logprobs[static_cast<size_t>(next.id)];
    token.top = tops;
    candidates_.push_back({beam, running.sum + next.logprob, std::move(token), stops});
  }
}

bool BeamSearch::complete() const {
  return std::all_of(running_.begin(), running_.end(), [](const Running& r) { return r.offered; });
}

std::vector<BeamSearch::Next> BeamSearch::advance() {
  LATHE_CHECK(complete());
  ++length_;
  std::stable_sort(candidates_.begin(), candidates_.end(), [](const Candidate& a, const Candidate& b) {
    return a.sum != b.sum ? a.sum > b.sum : a.parent < b.parent;
  });
  const auto beams = static_cast<size_t>(options_.beams);
  candidates_.resize(std::min(candidates_.size(), std::max<size_t>(2, 1 + stop_tokens_.size()) * beams));
  const bool last = length_ >= max_tokens_;
  std::vector<const Candidate*> survivors;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    if (candidates_[i].stops || last) {
      if (i < beams) finish(candidates_[i]);
    } else if (survivors.size() < beams) {
      survivors.push_back(&candidates_[i]);
    }
  }
  std::vector<Next> next;
  std::vector<Running> running;
  if (!survivors.empty() && can_improve(survivors.front()->sum)) {
    for (const Candidate* candidate : survivors) {
      next.push_back({candidate->parent, candidate->token});
      running.push_back({candidate->sum, running_[candidate->parent].tokens, false});
      running.back().tokens.push_back(candidate->token);
    }
  }
  running_ = std::move(running);
  candidates_.clear();
  return next;
}

void BeamSearch::finish(const Candidate& candidate) {
  const auto beams = static_cast<size_t>(options_.beams);
  Finished done{running_[candidate.parent].tokens, 0, candidate.stops};
  done.tokens.push_back(candidate.token);
  done.score = candidate.sum / std::pow(static_cast<double>(length_), options_.length_penalty);
  const auto place = std::upper_bound(finished_.begin(), finished_.end(), done.score,
                                      [](double score, const Finished& other) { return score > other.score; });
  finished_.insert(place, std::move(done));
  if (finished_.size() > beams) finished_.pop_back();
}

// Whether running on can bring something better than the worst that is finished.
bool BeamSearch::can_improve(double best_sum) const {
  if (finished_.size() < static_cast<size_t>(options_.beams)) return true;
  if (options_.stop == BeamOptions::Stop::first) return false;
  const bool longest = options_.stop == BeamOptions::Stop::never && options_.length_penalty > 0;
  const auto length = static_cast<double>(longest ? max_tokens_ : length_);
  return best_sum / std::pow(length, options_.length_penalty) > finished_.back().score;
}

}  // namespace lathe::llm
