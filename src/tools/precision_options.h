// The options of precision, `--fp16 --int8 --accuracy ..`, and the table of what became of them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "precision/assign.h"
#include "tools/calibration_inputs.h"
#include "tools/console.h"
#include "tools/model_options.h"

namespace CLI {  // NOLINT(readability-identifier-naming): as the library spells it
class App;
}

namespace lathe::tools {

struct CalibrationOptions {
  CalibrationArgs inputs;
  std::string calibrator;  // empty: as a cache has it, else the default
};

// --calib, --tokenizer, --calibrator.
void add_calibration_options(CLI::App& app, CalibrationOptions& options);

struct PrecisionArgs {
  bool fp16 = false, bf16 = false, fp8 = false, int8 = false, best = false;
  double accuracy = 0.999;
  double max_error = 0;  // 0: any
  double top1 = 0;
  std::string activations = "per-row", cache;
  double smooth = 0.5;
  std::vector<std::string> keep_fp32, layer_types;
  CalibrationOptions calibration;
  TimingCache* outcomes = nullptr;  // not an option of its own

  bool any() const { return fp16 || bf16 || fp8 || int8 || best || !layer_types.empty(); }
  void check() const;  // throws Error(invalid_argument) for options that serve no type
};

void add_precision_options(CLI::App& app, PrecisionArgs& args);

// Assigns types to the layers of an optimised graph, measured with so many threads (0: one per physical core). `sizes`:
// of made-up inputs.
precision::Report assign_precision(Graph& graph, const PrecisionArgs& args, const CompileOptions& compile, int threads,
                                   const Sizes& sizes, const std::filesystem::path& model,
                                   std::function<void(const std::string&)> progress);

// Prints what was pinned and why, accuracy, speed and size, and gives the same as JSON.
nlohmann::json report_precision(const precision::Report& report, const PrecisionArgs& args, Console& console,
                                bool verbose);

}  // namespace lathe::tools
