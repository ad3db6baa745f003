// Rounding that knows what a matrix is multiplied with (GPTQ: Frantar et al., arXiv 2210.17323): columns are rounded
// one after the other, and what one loses the columns after it make up for, as far as activations go together.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_team.h"
#include "graph/weight_rounding.h"

namespace lathe::llm {

// Of the activations x [rows, k] that a matrix reads: the sum of x^T x, below the diagonal and on it.
class InputStatistics {
 public:
  explicit InputStatistics(int64_t k);
  void add(std::span<const float> x, ThreadTeam& team);
  int64_t k() const { return k_; }
  static size_t bytes(int64_t k) { return static_cast<size_t>(k * k) * sizeof(float); }

 private:
  friend class FeedbackRounder;
  int64_t k_;
  std::vector<float> sums_;  // [k, k]
};

class FeedbackRounder {
 public:
  // Takes the sums and factorises them.
  FeedbackRounder(InputStatistics statistics, ThreadTeam& team);

  // A weight [n, k] of f32. Throws Error(invalid_model) for infinities and NaN.
  RoundedWeight round(const Tensor& weight, const RoundingOptions& options, ThreadTeam& team) const;

 private:
  void round_rows(std::span<float> rows, int64_t first, const RoundingOptions& options, RoundedWeight& result) const;
  void invert(ThreadTeam& team);

  int64_t k_;
  std::vector<float> factor_;  // [k, k] upper: U with U^T U the inverse of the (damped) sums
};

}  // namespace lathe::llm
