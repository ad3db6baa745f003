// lathe classify: which class does a text belong to?
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

class ClassifyCommand : public Command {
 public:
  CommandInfo info() const override {
    return {
        "classify",
        "Text",
        "Classify texts with a model from a folder",
        "The folder holds a model, a plan or a checkpoint, tokenizer.json or vocab.txt, and if the classes have "
        "names, config.json with id2label, or labels.txt. Without texts, the lines of standard input are classified.",
        {{"classify models/reviews-bert/sentiment \"我的心情很差\"", "one text"},
         {"classify models/reviews-bert/sentiment --json < reviews.txt", "a text on each line of a file"}}};
  }

  void add_options(CLI::App& app) override {
    add_text_model_options(app, options_);
    app.add_option("TEXT", texts_, "Texts; none: read lines from standard input");
  }

  int run(Console& console) override {
    TextModel model(options_, console);
    size_t label_cells = 0;
    for (const std::string& label : model.labels()) label_cells = std::max(label_cells, display_width(label));
    nlohmann::json results = nlohmann::json::array();
    for_each_text(texts_, [&](const std::string& text) {
      const Tensor scores = model.run(text, 2).tensor;
      std::vector<double> values;
      for (int64_t i = 0; i < scores.elements(); ++i) values.push_back(scores.read_double(i));
      if (values.empty()) fail(ErrorCode::unsupported, "the model gives no score for '{}'", text);
      const std::vector<double> shares = probabilities(values);
      const size_t best = largest(shares, 1).front();
      const std::string label = label_of(model, best);
      const std::string padding(label_cells - std::min(label_cells, display_width(label)), ' ');
      console.print("{}{}  {:>7}  {}\n", console.paint(Colour::bold, label), padding, format_percent(shares[best]),
                    text);
      nlohmann::json all;
      for (size_t i = 0; i < shares.size(); ++i) all[label_of(model, i)] = shares[i];
      results.push_back(
          {{"text", text}, {"label", label}, {"class", best}, {"probability", shares[best]}, {"probabilities", all}});
    });
    console.result(results);
    return kExitOk;
  }

 private:
  static std::string label_of(const TextModel& model, size_t index) {
    return index < model.labels().size() ? model.labels()[index] : std::to_string(index);
  }

  std::vector<std::string> texts_;
  TextModelOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_classify_command() { return std::make_unique<ClassifyCommand>(); }

}  // namespace lathe::tools
