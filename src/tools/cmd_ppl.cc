// lathe ppl: how surprising is a text for a language model?
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/llm_options.h"
#include "tools/progress.h"
#include "tools/text_input.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

// Minus the logarithm of the probability that the logits give to `id`.
double surprise(std::span<const float> logits, int32_t id) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - top);
  return std::log(sum) + top - logits[static_cast<size_t>(id)];
}

class PplCommand : public Command {
 public:
  CommandInfo info() const override {
    return {
        "ppl",
        "Run and check",
        "Measure the perplexity of a language model on a text",
        "The text is cut into windows of --window tokens that do not overlap. Each token but the first of a window is "
        "predicted from those before it; the perplexity is e to the mean of minus the logarithms of their "
        "probabilities. Lower is better, and only models with the same tokenizer can be compared.",
        {{"ppl ./tigerbot-7b wiki.test.txt", "in windows of 512 tokens"},
         {"ppl ./tigerbot-7b wiki.test.txt --int4 --against ./tigerbot-7b", "what rounding the weights costs"}}};
  }

  void add_options(CLI::App& app) override {
    add_llm_options(app, llm_);
    app.add_option("FILE", file_, "A text in UTF-8")->required();
    app.add_option("--window", window_, "Tokens of a window (default 512)")
        ->type_name("N")
        ->check(CLI::Range(int64_t{2}, int64_t{1} << 30).description(""));
    app.add_option("--against", against_,
                   "Another checkpoint, read with its weights as they are stored, to compare with")
        ->type_name("DIR");
  }

  int run(Console& console) override {
    const std::string text = read_text_file(file_);
    llm_.engine.max_sequences = 1;
    const Perplexity own = measure(llm_, text, console);
    console.print("perplexity  {}\ntokens      {}\n", format_number(own.value()), own.predicted);
    nlohmann::json document = {{"perplexity", own.value()}, {"mean_surprise", own.mean()}, {"tokens", own.predicted}};
    if (!against_.empty()) {
      LlmOptions other = llm_;
      other.folder = against_;
      other.weights = {};
      const Perplexity base = measure(other, text, console);
      if (base.predicted != own.predicted)
        fail(ErrorCode::invalid_argument, "'{}' cuts the text into other tokens: the two cannot be compared", against_);
      const double loss = own.value() / base.value() - 1;
      console.print("against     {}\nloss        {:+.2f} %\n", format_number(base.value()), loss * 100);
      document["against"] = {{"model", against_}, {"perplexity", base.value()}, {"loss", loss}};
    }
    console.result(document);
    return kExitOk;
  }

 private:
  struct Perplexity {
    double surprise = 0;
    int64_t predicted = 0;
    double mean() const { return surprise / static_cast<double>(predicted); }
    double value() const { return std::exp(mean()); }
  };

  Perplexity measure(const LlmOptions& options, const std::string& text, Console& console) const {
    const auto engine = open_llm(options, console);
    if (engine->facts().source_context > 0)
      throw Error(ErrorCode::unsupported, "perplexity is for models that continue a text, not for encoder-decoders");
    const std::vector<int32_t> ids = engine->encode(text);
    // One place stays free: with each window goes a token that is drawn and not looked at.
    const size_t size = static_cast<size_t>(std::min(window_, engine->facts().context - 1));
    Perplexity result;
    Progress progress(console);
    for (size_t begin = 0; begin + 1 < ids.size(); begin += size) {
      progress.show("reading", static_cast<double>(begin) / static_cast<double>(ids.size()));
      const auto window = std::span<const int32_t>(ids).subspan(begin, std::min(size, ids.size() - begin));
      result.surprise += read(*engine, window);
      result.predicted += static_cast<int64_t>(window.size()) - 1;
    }
    if (result.predicted == 0) throw Error(ErrorCode::invalid_argument, "the text is too short").in_file(file_);
    return result;
  }

  static double read(llm::Engine& engine, std::span<const int32_t> window) {
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

  LlmOptions llm_;
  std::string file_, against_;
  int64_t window_ = 512;
};

}  // namespace

std::unique_ptr<Command> make_ppl_command() { return std::make_unique<PplCommand>(); }

}  // namespace lathe::tools
