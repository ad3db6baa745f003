#include "tools/perplexity.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "tools/llm_options.h"
#include "tools/progress.h"

namespace lathe::tools {
namespace {

// Minus the logarithm of the probability that the logits give to `id`.
double surprise(std::span<const float> logits, int32_t id) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - top);
  return std::log(sum) + top - logits[static_cast<size_t>(id)];
}

double read(llm::Engine& engine, std::span<const int32_t> window) {
  double sum = 0;
  llm::Request request;
  request.prompt.assign(window.begin(), window.end());
  request.max_tokens = 1;
  request.sampling.temperature = 0;
  request.on_prompt_logits = [&](int64_t position, std::span<const float> logits) {
    const auto next = static_cast<size_t>(position) + 1;
    if (next < window.size()) sum += surprise(logits, window[next]);
  };
  llm::Generation generation = engine.submit(std::move(request));
  while (next_token(generation)) continue;
  generation.wait();
  return sum;
}

}  // namespace

Perplexity measure_perplexity(llm::Engine& engine, std::span<const int32_t> ids, int64_t window, Console& console) {
  if (engine.facts().source_context > 0)
    throw Error(ErrorCode::unsupported, "perplexity is for models that continue a text, not for encoder-decoders");
  // One place stays free: with each window goes a token that is drawn and not looked at.
  const auto size = static_cast<size_t>(std::min(window, engine.facts().context - 1));
  Perplexity result;
  Progress progress(console);
  for (size_t begin = 0; begin + 1 < ids.size(); begin += size) {
    progress.show("reading", static_cast<double>(begin) / static_cast<double>(ids.size()));
    const auto part = ids.subspan(begin, std::min(size, ids.size() - begin));
    result.surprise += read(engine, part);
    result.predicted += static_cast<int64_t>(part.size()) - 1;
  }
  if (result.predicted == 0) throw Error(ErrorCode::invalid_argument, "the text is too short");
  return result;
}

}  // namespace lathe::tools
