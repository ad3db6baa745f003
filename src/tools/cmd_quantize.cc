// lathe quantize: a model becomes one with Q/DQ nodes, for use elsewhere.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "onnx/importer.h"
#include "precision/qdq.h"
#include "tools/calibration_inputs.h"
#include "tools/command.h"
#include "tools/model_options.h"
#include "tools/precision_options.h"
#include "tools/progress.h"

namespace lathe::tools {
namespace {

class QuantizeCommand : public Command {
 public:
  CommandInfo info() const override {
    return {"quantize",
            "Build",
            "Write an ONNX file in which products and convolutions read bytes",
            "Weights become int8 with one scale per output channel; activations uint8 with calibrated ranges, in the "
            "Q/DQ form that other runtimes read. For a plan of Lathe's own, `build --int8` chooses per layer and by "
            "measured accuracy.",
            {{"quantize resnet.onnx resnet-int8.onnx --calib images/", "ranges from recorded inputs"},
             {"quantize bert.onnx bert-int8.onnx --calib reviews.txt --tokenizer bert --calibrator mse",
              "ranges from lines of text"}}};
  }

  void add_options(CLI::App& app) override {
    app.add_option("IN", input_, "The .onnx model")->required()->type_name("IN.onnx");
    app.add_option("OUT", output_, "The .onnx file to write")->required()->type_name("OUT.onnx");
    add_calibration_options(app, calibration_);
    app.add_option("--keep", options_.keep, "Nodes that stay as they are, by name with '*'; repeatable")
        ->type_name("PATTERN")
        ->allow_extra_args(false);
  }

  int run(Console& console) override {
    if (std::filesystem::exists(output_) && std::filesystem::exists(input_) &&
        std::filesystem::equivalent(output_, input_))
      fail(ErrorCode::invalid_argument, "the result would overwrite the model '{}'", input_);
    Progress progress(console);
    progress.show("quantising " + input_);
    options_.calibrator = calibrator_of(calibration_.calibrator);
    const auto batches =
        calibration_batches(*onnx::import_model(input_), calibration_.inputs, {}, std::filesystem::path(input_));
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

 private:
  std::string input_, output_;
  CalibrationOptions calibration_;
  precision::QdqOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_quantize_command() { return std::make_unique<QuantizeCommand>(); }

}  // namespace lathe::tools
