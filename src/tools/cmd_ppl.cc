// lathe ppl: how surprising is a text for a language model?
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tools/command.h"
#include "tools/llm_options.h"
#include "tools/perplexity.h"
#include "tools/text_input.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

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
  Perplexity measure(const LlmOptions& options, const std::string& text, Console& console) const {
    const auto engine = open_llm(options, console);
    try {
      return measure_perplexity(*engine, engine->encode(text), window_, console);
    } catch (Error& error) {
      throw error.in_file(file_);
    }
  }

  LlmOptions llm_;
  std::string file_, against_;
  int64_t window_ = 512;
};

}  // namespace

std::unique_ptr<Command> make_ppl_command() { return std::make_unique<PplCommand>(); }

}  // namespace lathe::tools
