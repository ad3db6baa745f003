// Beam search over one prompt, with the rules of Hugging Face's `generate`: every step looks at the 2 * beams best
// continuations (more where there are more stop tokens); those that stop count as finished if they are among the first
// `beams`, the best of the others run on. A score is the sum of the logprobs divided by length^length_penalty.
//
// This is arithmetic alone: the engine brings the logprobs of the running beams, in any order, and forks sequences as
// told.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lathe/llm.h"

namespace lathe::llm {

class BeamSearch {
 public:
  // `max_tokens` of an answer.
  BeamSearch(const BeamOptions& options, std::vector<int32_t> stop_tokens, int64_t max_tokens);

  struct Next {
    size_t parent;  // a running beam
    Token token;
  };
  struct Finished {
    std::vector<Token> tokens;
    double score = 0;
    bool stopped = false;  // by a stop token, not by length
  };

  // The processed logprobs of what follows running beam `beam`, and those of the model itself.
  void offer(size_t beam, std::span<const float> scores, std::span<const float> logprobs, int top);
  // True when all running beams have offered.
  bool complete() const;
  // The beams that run on; none when the search is over.
  std::vector<Next> advance();
  // Best first, at most `beams`.
  const std::vector<Finished>& finished() const { return finished_; }

 private:
  struct Running {
    double sum = 0;
    std::vector<Token> tokens;
    bool offered = false;
  };
  struct Candidate {
    size_t parent;
    double sum;
    Token token;
    bool stops;
  };
  void finish(const Candidate& candidate);
  bool can_improve(double best_sum) const;

  BeamOptions options_;
  std::vector<int32_t> stop_tokens_;
  int64_t max_tokens_;
  int64_t length_ = 0;  // of the running answers
  std::vector<Running> running_ = std::vector<Running>(1);
  std::vector<Candidate> candidates_;
  std::vector<Finished> finished_;
};

}  // namespace lathe::llm
