// lathe quantize: a model becomes one with rounded weights, for use elsewhere: an ONNX file one with Q/DQ nodes, a
// language model's checkpoint one whose products have weights of few bits.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/error.h"
#include "llm/quantize.h"
#include "onnx/importer.h"
#include "precision/qdq.h"
#include "tools/calibration_inputs.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/llm_inspect.h"
#include "tools/llm_options.h"
#include "tools/model_options.h"
#include "tools/perplexity.h"
#include "tools/precision_options.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "tools/text_input.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

// What a text is calibrated on, and its last tenth, from the beginning of a line where there is one.
std::pair<std::string, std::string> split_held_out(const std::string& text) {
  const auto is_inside = [&](size_t at) { return (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80; };
  size_t end = text.size() - text.size() / 10;
  const size_t line = end > 0 ? text.rfind('\n', end - 1) : std::string::npos;
  if (line != std::string::npos) end = line + 1;
  while (end < text.size() && is_inside(end)) ++end;
  return {text.substr(0, end), text.substr(end)};
}

class QuantizeCommand : public Command {
 public:
  CommandInfo info() const override {
    return {"quantize",
            "Build",
            "Write a model with rounded weights, for use elsewhere",
            "Of an ONNX model, products and convolutions come to read bytes: weights become int8 with one scale per "
            "output channel; activations uint8 with calibrated ranges, in the Q/DQ form that other runtimes read. For "
            "a plan of Lathe's own, `build --int8` chooses per layer and by measured accuracy. Of a checkpoint's "
            "folder, the matrices of linear layers become integers of 8 or 4 bits, in the layout of "
            "compressed-tensors; --calib has them rounded for what they read when the model reads that text (GPTQ). "
            "What that costs is measured on the last tenth of the text, which is held out; `ppl --against` measures it "
            "on any text. The output matrix stays as it is.",
            {{"quantize resnet.onnx resnet-int8.onnx --calib images/", "ranges from recorded inputs"},
             {"quantize bert.onnx bert-int8.onnx --calib reviews.txt --tokenizer bert --calibrator mse",
              "ranges from lines of text"},
             {"quantize ./tigerbot-7b -o ./tigerbot-7b-int4 --int4 --calib sample.txt", "a language model"}}};
  }

  void add_options(CLI::App& app) override {
    app.add_option("IN", input_, "The .onnx model, or a checkpoint folder")->required()->type_name("IN");
    auto* output = app.add_option("OUT", output_, "The .onnx file or folder to write")->type_name("OUT");
    app.add_option("-o,--output", output_option_, "The same")->type_name("OUT")->excludes(output);
    add_calibration_options(app, calibration_);
    app.add_option("--keep", options_.keep, "Of an .onnx model: nodes that stay, by name with '*'; repeatable")
        ->type_name("PATTERN")
        ->allow_extra_args(false);
    add_rounding_options(app, weights_, "Of a checkpoint: ");
    app.add_option("--threads", threads_, "Of a checkpoint: threads (default: one per physical core)")
        ->type_name("N")
        ->check(CLI::Range(1, 1024).description(""));
  }

  int run(Console& console) override {
    if (output_.empty()) output_ = output_option_;
    if (output_.empty())
      throw Error(ErrorCode::invalid_argument, "it is not said where the result is to go").remedy("Add -o OUT");
    return is_checkpoint(input_) ? run_folder(console) : run_onnx(console);
  }

 private:
  int run_folder(Console& console) {
    if (weights_.bits() == 0)
      throw Error(ErrorCode::invalid_argument, "it is not said to how many bits").remedy("Add --int4 or --int8");
    Progress progress(console);
    llm::QuantizeOptions options;
    options.weights = {weights_.bits(), weights_.group};
    options.threads = threads_;
    std::string held_out;
    if (!calibration_.inputs.source.empty())
      std::tie(options.calibration, held_out) = split_held_out(read_text_file(calibration_.inputs.source));
    options.progress = [&](const std::string& what, double fraction) {
      check_interrupted();
      progress.show(what, fraction);
    };
    const llm::QuantizeReport whole = llm::quantize_folder(input_, output_, options);
    const checkpoint::QuantisedFolderReport& report = whole.written;
    progress.clear();
    console.print("{}  {} matrices of {} bits, {} became {}\n", console.paint(Colour::bold, output_), report.matrices,
                  weights_.bits(), format_bytes(static_cast<double>(report.bytes_before)),
                  format_bytes(static_cast<double>(report.bytes_after)));
    nlohmann::json document = {{"model", input_},
                               {"output", output_},
                               {"bits", weights_.bits()},
                               {"matrices", report.matrices},
                               {"bytes_before", report.bytes_before},
                               {"bytes_after", report.bytes_after},
                               {"kept", show_kept(whole, console)}};
    if (!held_out.empty()) document["loss"] = report_loss(held_out, console);
    console.result(document);
    return kExitOk;
  }

  // The tensors of products that stayed wide, one line for those of all layers.
  static nlohmann::json show_kept(const llm::QuantizeReport& report, Console& console) {
    nlohmann::json document = nlohmann::json::array();
    Table table({{"kept as it is"}, {"tensors", Table::Align::right}, {"why"}});
    const auto add = [&](const std::vector<std::string>& names, const char* why) {
      std::map<std::string, int64_t> counts;
      for (const std::string& name : names) {
        ++counts[without_numbers(name)];
        document.push_back({{"name", name}, {"why", why}});
      }
      for (const auto& [name, count] : counts) table.add_row({name, std::to_string(count), why});
    };
    add(report.stacks, "a stack of matrices; compressed-tensors rounds those of a Linear alone");
    add(report.transposed, "stored [in, out], as a Conv1D; compressed-tensors rounds matrices of a Linear alone");
    if (!table.empty()) console.print("{}", table.render(console));
    return document;
  }

  // "layers.*.mlp" of "layers.12.mlp".
  static std::string without_numbers(const std::string& name) {
    std::string result;
    for (size_t at = 0; at < name.size();) {
      const size_t end = std::min(name.find('.', at), name.size());
      const std::string part = name.substr(at, end - at);
      const bool number = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
      result += (at > 0 ? "." : "") + (number ? "*" : part);
      at = end + 1;
    }
    return result;
  }

  // What the result loses against what it was made from; the two are in memory one after the other.
  nlohmann::json report_loss(const std::string& text, Console& console) const {
    const Perplexity before = read(input_, text, console), after = read(output_, text, console);
    const double loss = after.value() / before.value() - 1;
    console.print("perplexity  {} -> {}, a loss of {:+.2f} %, on {} tokens that were held out\n",
                  format_number(before.value()), format_number(after.value()), loss * 100, after.predicted);
    return {{"perplexity_before", before.value()},
            {"perplexity_after", after.value()},
            {"loss", loss},
            {"tokens", after.predicted}};
  }

  Perplexity read(const std::string& folder, const std::string& text, Console& console) const {
    constexpr size_t kMostTokens = 4096;
    constexpr int64_t kWindow = 512;
    LlmOptions options;
    options.folder = folder;
    options.engine.threads = threads_;
    options.engine.max_sequences = 1;
    const auto engine = open_llm(options, console);
    std::vector<int32_t> ids = engine->encode(text);
    ids.resize(std::min(ids.size(), kMostTokens));
    return measure_perplexity(*engine, ids, kWindow, console);
  }

  int run_onnx(Console& console) {
    if (weights_.int4) fail(ErrorCode::invalid_argument, "--int4 is for checkpoints of language models");
    if (std::filesystem::exists(output_) && std::filesystem::exists(input_) &&
        std::filesystem::equivalent(output_, input_))
      fail(ErrorCode::invalid_argument, "the result would overwrite the model '{}'", input_);
    Progress progress(console);
    progress.show("quantising " + input_);
    if (const auto calibrator = precision::calibrator_from_string(calibration_.calibrator))
      options_.calibrator = *calibrator;
    const auto batches =
        calibration_batches(*onnx::import_model(input_), calibration_.inputs, {}, std::filesystem::path(input_), true);
    const precision::QdqReport report = precision::quantize_model(input_, output_, batches, options_);
    progress.clear();
    nlohmann::json outputs = nlohmann::json::array();
    console.print("{}  {} layers read bytes (ranges from {})\n", console.paint(Colour::bold, output_),
                  report.layers.size(),
                  calibration_.inputs.source.empty() ? "made-up inputs" : calibration_.inputs.source);
    for (const auto& [name, agreement] : report.outputs) {
      console.print("{}: cosine {:.6f}, largest error {:.3g}\n", name, agreement.cosine, agreement.max_error);
      outputs.push_back({{"name", name}, {"cosine", agreement.cosine}, {"max_error", agreement.max_error}});
    }
    console.result({{"model", input_}, {"output", output_}, {"layers", report.layers}, {"outputs", outputs}});
    return kExitOk;
  }

  std::string input_, output_, output_option_;
  WeightArgs weights_;
  int threads_ = 0;
  CalibrationOptions calibration_;
  precision::QdqOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_quantize_command() { return std::make_unique<QuantizeCommand>(); }

}  // namespace lathe::tools
