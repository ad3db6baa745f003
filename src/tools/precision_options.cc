#include "tools/precision_options.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tools/table.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

using nlohmann::json;
using precision::type_name;

constexpr const char* kGroup = "Precision";

std::string name_of(const precision::LayerType& type) {
  std::string name(type_name(type.compute));
  if (bit_width(type.compute) == 8 && type.result != DType::f32) name += fmt::format(" -> {}", type_name(type.result));
  return name;
}

// "PATTERN:fp16"; the pattern may hold colons.
precision::LayerRule parse_rule(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon != std::string::npos)
    if (const auto type = precision::type_from_name(std::string_view(text).substr(colon + 1)))
      return {text.substr(0, colon), *type};
  throw Error(ErrorCode::invalid_argument, fmt::format("'{}' is not of the form PATTERN:TYPE", text))
      .remedy("Types: fp32, fp16, bf16, fp8, int8");
}

precision::PrecisionOptions options_of(const PrecisionArgs& args) {
  precision::PrecisionOptions options;
  const auto wants = [&](DType type, bool flag) {
    if (flag && !args.best) options.types.push_back(type);  // the best are sought among all
  };
  wants(DType::i8, args.int8);
  wants(DType::f8e4m3, args.fp8);
  wants(DType::f16, args.fp16);
  wants(DType::bf16, args.bf16);
  options.fastest = args.best;
  options.min_cosine = args.accuracy;
  if (args.max_error > 0) options.max_error = args.max_error;
  options.min_top1 = args.top1;
  options.calibrator = precision::calibrator_from_string(args.calibration.calibrator);
  options.range_cache = args.cache;
  options.outcomes = args.outcomes;
  options.static_activations = args.activations == "per-tensor";
  options.smoothing = args.smooth;
  for (const std::string& rule : args.layer_types) options.rules.push_back(parse_rule(rule));
  for (const std::string& pattern : args.keep_fp32) options.rules.push_back({pattern, DType::f32});
  return options;
}

void print_pinned(const precision::Report& report, Console& console, bool verbose) {
  Table table({{"layer", Table::Align::left, 48},
               {"op"},
               {"wanted"},
               {"type"},
               {"cosine alone", Table::Align::right},
               {"why", Table::Align::left, 60}});
  size_t rows = 0;
  for (const precision::LayerReport& layer : report.layers) {
    const bool pinned = !(layer.wanted == layer.type);
    if (!pinned && !verbose) continue;
    table.add_row({layer.name, layer.op, name_of(layer.wanted), name_of(layer.type),
                   layer.alone.finite ? fmt::format("{:.6f}", layer.alone.cosine) : "not finite", layer.reason});
    ++rows;
  }
  if (rows > 0) console.print("{}\n", table.render(console));
}

json layers_json(const precision::Report& report) {
  json layers = json::array();
  for (const precision::LayerReport& layer : report.layers)
    layers.push_back({{"name", layer.name},
                      {"op", layer.op},
                      {"wanted", name_of(layer.wanted)},
                      {"type", name_of(layer.type)},
                      {"cosine", layer.alone.cosine},
                      {"finite", layer.alone.finite},
                      {"reason", layer.reason}});
  return layers;
}

}  // namespace

void add_calibration_options(CLI::App& app, CalibrationOptions& options) {
  app.add_option("--calib", options.inputs.source,
                 "Inputs to measure and calibrate on: an .npz, a folder of them, or lines of text (default: made-up)")
      ->type_name("FILE|DIR")
      ->group(kGroup);
  app.add_option("--tokenizer", options.inputs.tokenizer, "For a text file (default: the model's folder)")
      ->type_name("DIR")
      ->group(kGroup);
  app.add_option("--calibrator", options.calibrator, "How ranges of whole tensors are chosen (default mse)")
      ->check(CLI::IsMember({"mse", "min-max", "percentile", "entropy"}).description(""))
      ->type_name("mse|min-max|percentile|entropy")
      ->group(kGroup);
}

void PrecisionArgs::check() const {
  const bool asks = !cache.empty() || !keep_fp32.empty() || !calibration.inputs.source.empty() || max_error > 0 ||
                    top1 > 0 || accuracy != PrecisionArgs().accuracy;
  if (asks && !any())
    throw Error(ErrorCode::invalid_argument, "inputs, bounds or layers are given, but no type that layers may have")
        .remedy("Add --int8, --fp16, --bf16, --fp8 or --best");
}

void add_precision_options(CLI::App& app, PrecisionArgs& args) {
  app.add_flag("--fp16", args.fp16, "Let layers compute in 16-bit floats")->group(kGroup);
  app.add_flag("--bf16", args.bf16, "Let layers compute in bfloat16")->group(kGroup);
  app.add_flag("--int8", args.int8, "Let products and convolutions compute in bytes")->group(kGroup);
  app.add_flag("--fp8", args.fp8, "Let products compute in 8-bit floats, on GPUs from sm_89 on")->group(kGroup);
  app.add_flag("--best", args.best, "The fastest of all types that meet the accuracy")->group(kGroup);
  app.add_option(
         "--accuracy", args.accuracy,
         "Least cosine of every output to fp32 (default 0.999); 0: nothing is measured, which takes little memory")
      ->type_name("COSINE")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->group(kGroup);
  app.add_option("--max-error", args.max_error, "Largest error of any output element (default: any)")
      ->type_name("X")
      ->check(CLI::NonNegativeNumber.description(""))
      ->group(kGroup);
  app.add_option(
         "--top1", args.top1,
         "Least share of rows of scores, a text's or a token's, whose first choice is that of fp32 (default: any)")
      ->type_name("SHARE")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->group(kGroup);
  add_calibration_options(app, args.calibration);
  app.add_option("--calib-cache", args.cache, "Calibrated ranges to use instead of measuring, and to add to")
      ->type_name("FILE.json")
      ->group(kGroup);
  app.add_option("--activations", args.activations,
                 "Scales of what int8 products read: per row as it comes, or one calibrated range (default per-row)")
      ->check(CLI::IsMember({"per-row", "per-tensor"}).description(""))
      ->type_name("per-row|per-tensor")
      ->group(kGroup);
  app.add_option("--smooth", args.smooth, "Share of outliers moved from a norm's result into weights (default 0.5)")
      ->type_name("ALPHA")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->group(kGroup);
  app.add_option("--keep-fp32", args.keep_fp32, "Layers that stay in fp32, by name with '*'; repeatable")
      ->type_name("PATTERN")
      ->allow_extra_args(false)
      ->group(kGroup);
  app.add_option("--layer-type", args.layer_types, "The type of layers by name with '*'; repeatable")
      ->type_name("PATTERN:TYPE")
      ->allow_extra_args(false)
      ->group(kGroup);
}

precision::Report assign_precision(Graph& graph, const PrecisionArgs& args, const CompileOptions& compile, int threads,
                                   const Sizes& sizes, const std::filesystem::path& model,
                                   std::function<void(const std::string&)> progress) {
  precision::PrecisionOptions options = options_of(args);
  options.threads = threads;
  options.progress = std::move(progress);
  options.observer = &stop_at_interrupt();
  const precision::Batches batches =
      calibration_batches(graph, args.calibration.inputs, sizes, model, precision::finds_ranges(options));
  if (!sizes.empty() && precision::finds_ranges(options)) options.usual = made_up_batch(graph, sizes);
  try {
    return precision::assign(graph, compile, batches, options);
  } catch (Error& error) {
    if (error.code() != ErrorCode::invalid_argument || !args.calibration.inputs.source.empty() ||
        !error.remedy_text().empty())
      throw;
    throw error.remedy("Accuracy was being measured on made-up inputs: give real ones by --calib, or sizes by --shape");
  }
}

json report_precision(const precision::Report& report, const PrecisionArgs& args, Console& console, bool verbose) {
  print_pinned(report, console, verbose);
  std::map<std::string, size_t> counts;
  for (const precision::LayerReport& layer : report.layers) ++counts[name_of(layer.type)];
  std::string types;
  for (const auto& [type, count] : counts) types += fmt::format("{}{} {}", types.empty() ? "" : ", ", count, type);
  if (types.empty()) types = "no layer of this model can be narrower on this device";
  if (report.fastest_in_f32) types += ", as nothing narrower is faster";
  if (report.halves_are_faster) types += ", as layers in 8 bits would be slower";
  json outputs = json::array();
  const bool measured = report.trials > 0;
  if (measured)
    console.print("precision    {} (measured on {}; {} {}{})\n", types,
                  args.calibration.inputs.source.empty() ? "made-up inputs" : args.calibration.inputs.source,
                  report.trials, report.trials == 1 ? "trial" : "trials",
                  report.recalled ? " of an earlier build" : "");
  else
    console.print("precision    {} (not measured)\n", types);
  for (const auto& [name, agreement] : report.outputs) {
    console.print("accuracy     {}: cosine {:.6f}, largest error {:.3g}{}{}{}\n", name, agreement.cosine,
                  agreement.max_error,
                  args.top1 > 0 ? fmt::format(", {:.2f} % of first choices", 100 * agreement.top1) : "",
                  agreement.collapsed ? ", one class for everything" : "",
                  agreement.resized > 0 ? fmt::format(", other sizes in {} runs", agreement.resized) : "");
    outputs.push_back({{"name", name},
                       {"cosine", agreement.cosine},
                       {"max_error", agreement.finite ? json(agreement.max_error) : json()},
                       {"top1", agreement.top1},
                       {"collapsed", agreement.collapsed},
                       {"resized", agreement.resized}});
  }
  if (measured)
    console.print("against fp32 {} -> {} a run, weights {} -> {}\n", format_time(report.before.ms),
                  format_time(report.after.ms), format_bytes(static_cast<double>(report.before.weight_bytes)),
                  format_bytes(static_cast<double>(report.after.weight_bytes)));
  return {{"met", report.met},
          {"fastest_in_fp32", report.fastest_in_f32},
          {"faster_in_16_bits", report.halves_are_faster},
          {"made_up_inputs", args.calibration.inputs.source.empty()},
          {"trials", report.trials},
          {"recalled", report.recalled},
          {"outputs", outputs},
          {"layers", layers_json(report)},
          {"ms_before", report.before.ms},
          {"ms_after", report.after.ms},
          {"weight_bytes_before", report.before.weight_bytes},
          {"weight_bytes_after", report.after.weight_bytes}};
}

}  // namespace lathe::tools
