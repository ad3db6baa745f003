// lathe fill-mask: which tokens fit where a text says [MASK]?
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tools/command.h"
#include "tools/table.h"
#include "tools/text_input.h"
#include "tools/text_model.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

using nlohmann::json;

constexpr std::string_view kContinuation = "##";  // WordPiece's mark of a token that continues a word

class FillMaskCommand : public Command {
 public:
  CommandInfo info() const override {
    return {"fill-mask",
            "Text",
            "Name the tokens that fit at [MASK]",
            "The folder holds a masked-language model, as a model, a plan or a checkpoint, and tokenizer.json or "
            "vocab.txt. Without texts, the lines of standard input are read.",
            {{"fill-mask models/reviews-bert/fill-mask \"房间很干[MASK]\"", "the ten likeliest tokens"},
             {"fill-mask models/reviews-bert/fill-mask \"味道不[MASK]。\" --top 3 --json", "three of them, as JSON"}}};
  }

  void add_options(CLI::App& app) override {
    add_text_model_options(app, options_);
    app.add_option("TEXT", texts_, "Texts with [MASK]; none: read lines from standard input");
    app.add_option("--top", top_, "How many tokens to show (default 10)")
        ->type_name("N")
        ->check(CLI::Range(1, 1000).description(""));
  }

  int run(Console& console) override {
    TextModel model(options_, console);
    json results = json::array();
    for_each_text(texts_, [&](const std::string& text) { results.push_back(fill(model, text, console)); });
    console.result(results);
    return kExitOk;
  }

 private:
  json fill(TextModel& model, const std::string& text, Console& console) const {
    const auto mask = model.tokenizer().special_tokens().mask;
    if (!mask) fail(ErrorCode::unsupported, "the tokenizer has no mask token");
    const auto [ids, scores] = model.run(text, 3);
    if (std::find(ids.begin(), ids.end(), *mask) == ids.end())
      throw Error(ErrorCode::invalid_argument, fmt::format("'{}' has no mask", text))
          .remedy(fmt::format("Write {} where a token is missing",
                              model.tokenizer().id_to_token(*mask).value_or("[MASK]")));
    json masks = json::array();
    console.print("{}\n", console.paint(Colour::bold, text));
    for (size_t position = 0; position < ids.size(); ++position) {
      if (ids[position] != *mask) continue;
      if (!masks.empty()) console.print("\n");
      masks.push_back(candidates(model, scores, position, console));
    }
    return {{"text", text}, {"masks", masks}};
  }

  json candidates(const TextModel& model, const Tensor& scores, size_t position, Console& console) const {
    const int64_t words = scores.dims().back();
    std::vector<double> row;
    for (int64_t i = 0; i < words; ++i) row.push_back(scores.read_double(static_cast<int64_t>(position) * words + i));
    const std::vector<double> shares = probabilities(row);
    Table table({{""}, {"", Table::Align::right}});
    json list = json::array();
    for (const size_t id : largest(shares, static_cast<size_t>(top_))) {
      std::string token(model.tokenizer().id_to_token(static_cast<text::TokenId>(id)).value_or("?"));
      if (token.starts_with(kContinuation) && token.size() > kContinuation.size()) token.erase(0, kContinuation.size());
      table.add_row({"  " + token, fmt::format("{:.3f} %", shares[id] * 100)});
      list.push_back({{"token", token}, {"id", id}, {"probability", shares[id]}});
    }
    console.print("{}", table.render(console));
    return {{"position", position}, {"candidates", list}};
  }

  std::vector<std::string> texts_;
  int top_ = 10;
  TextModelOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_fill_mask_command() { return std::make_unique<FillMaskCommand>(); }

}  // namespace lathe::tools
