// How surprising a text is for a language model.
#pragma once

#include <cmath>
#include <span>

#include "lathe/llm.h"
#include "tools/console.h"

namespace lathe::tools {

struct Perplexity {
  double surprise = 0;  // minus the logarithms of the probabilities of the tokens, summed
  int64_t predicted = 0;

  double mean() const { return surprise / static_cast<double>(predicted); }
  double value() const { return std::exp(mean()); }
};

// The text is cut into windows of so many tokens, or of as many as the model takes; each token but the first of a
// window is predicted from those before it. Throws Error(invalid_argument) for a text of fewer than two tokens.
Perplexity measure_perplexity(llm::Engine& engine, std::span<const int32_t> ids, int64_t window, Console& console);

}  // namespace lathe::tools
