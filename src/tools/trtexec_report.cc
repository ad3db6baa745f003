#include "tools/trtexec_report.h"

#include <algorithm>
#include <cctype>
#include <ctime>
#include <nlohmann/json.hpp>

#include "tools/model_facts.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

using Json = nlohmann::json;

// Six digits, as C++ streams print floats.
std::string number(double value) { return fmt::format("{:.6g}", value); }

// Without interpolation: the largest of what is left when the slowest (100 - percentage) % are put aside.
double percentile_of(const std::vector<double>& sorted, double percentage) {
  const auto aside = static_cast<size_t>((100 - percentage) * static_cast<double>(sorted.size()) / 100);
  return sorted[sorted.size() - 1 - std::min(aside, sorted.size() - 1)];
}

using Part = double (RunTrace::*)() const;

std::vector<double> samples_of(const Measurement& measured, Part part) {
  std::vector<double> samples;
  for (const RunTrace& run : measured.trace) samples.push_back((run.*part)());
  return samples;
}

std::string metric_line(std::string_view name, const Measurement& measured, Part part,
                        const std::vector<double>& percentiles) {
  std::vector<double> samples = samples_of(measured, part);
  std::sort(samples.begin(), samples.end());
  std::string line =
      fmt::format("{}: min = {} ms, max = {} ms, mean = {} ms, median = {} ms", name, number(samples.front()),
                  number(samples.back()), number(mean(samples)), number(percentile(samples, 0.5)));
  for (const double p : percentiles)
    line += fmt::format(", percentile({}%) = {} ms", number(p), number(percentile_of(samples, p)));
  return line;
}

void add_averages(const Measurement& measured, size_t runs, std::vector<std::string>& lines) {
  lines.insert(lines.end(), {"", "=== Trace details ===", fmt::format("Trace averages of {} runs:", runs)});
  for (size_t begin = 0; begin + runs <= measured.trace.size(); begin += runs) {
    double compute = 0, latency = 0, enqueue = 0;
    for (size_t i = begin; i < begin + runs; ++i) {
      compute += measured.trace[i].compute();
      latency += measured.trace[i].latency();
      enqueue += measured.trace[i].enqueue();
    }
    const auto n = static_cast<double>(runs);
    lines.push_back(fmt::format("Average on {} runs - GPU latency: {} ms - Host latency: {} ms (enqueue {} ms)", runs,
                                number(compute / n), number(latency / n), number(enqueue / n)));
  }
}

std::string type_name(DType type) {
  switch (type) {
    case DType::f32: return "Float";
    case DType::f16: return "Half";
    case DType::bf16: return "BFloat16";
    case DType::i8: return "Int8";
    case DType::i32: return "Int32";
    case DType::i64: return "Int64";
    case DType::u8: return "UInt8";
    case DType::boolean: return "Bool";
    default: return std::string(to_string(type));
  }
}

// Sizes that only a run fixes are -1.
Json dims_json(const Type& type) {
  Json dims = Json::array();
  for (const Dim& dim : type.shape) dims.push_back(dim.is_constant() ? dim.value() : int64_t{-1});
  return dims;
}

Json operands_json(std::span<Value* const> values) {
  Json list = Json::array();
  for (const Value* value : values)
    if (value != nullptr)
      list.push_back({{"Name", value->name()},
                      {"Dimensions", dims_json(value->type())},
                      {"Format/Datatype", "Row major linear " + type_name(value->dtype())}});
  return list;
}

// Names of layers, or all about them.
Json layer_list(const Engine& engine, bool detailed) {
  const Program& program = engine.impl().model.program;
  Json layers = Json::array();
  for (const ProgramStep& step : program.steps) {
    if (!detailed) {
      layers.push_back(step_name(program, step));
      continue;
    }
    layers.push_back({{"Name", step_name(program, step)},
                      {"LayerType", op_name(step.node->op())},
                      {"Inputs", operands_json(step.node->inputs())},
                      {"Outputs", operands_json(step.node->outputs())},
                      {"TacticName", step.kernel},
                      {"StreamId", 0},
                      {"Metadata", step.reason}});
  }
  return layers;
}

Json io_json(const Value& value, const std::string& name, bool input, const std::vector<Profile>& profiles) {
  Json tensor = {{"Name", name},
                 {"IOMode", input ? "Input" : "Output"},
                 {"DataType", type_name(value.dtype())},
                 {"Dimensions", dims_json(value.type())},
                 {"Location", "Device"},
                 {"IsShapeInferenceIO", false},
                 {"ProfileInfo", Json::array()}};
  for (const Profile& profile : profiles)
    if (const auto found = profile.find(name); found != profile.end())
      tensor["ProfileInfo"].push_back({{"MinShape", found->second.min},
                                       {"OptShape", found->second.opt},
                                       {"MaxShape", found->second.max},
                                       {"Format", "Row major linear"}});
  return tensor;
}

}  // namespace

std::string TrtexecLog::stamp() {
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  localtime_r(&now, &local);
  char text[32];
  std::strftime(text, sizeof(text), "[%m/%d/%Y-%H:%M:%S] ", &local);
  return text;
}

std::vector<std::string> performance_lines(const Measurement& measured, const TrtexecOptions& options) {
  std::vector<std::string> lines = {
      fmt::format("Warmup completed {} queries over {} ms", measured.warmup_runs, number(options.warmup_ms)),
      fmt::format("Timing trace has {} queries over {} s", measured.trace.size(), number(measured.seconds))};
  add_averages(measured, static_cast<size_t>(options.average_runs), lines);
  lines.insert(
      lines.end(),
      {"", "=== Performance summary ===", fmt::format("Throughput: {} qps", number(measured.runs_per_second))});
  const std::pair<std::string_view, Part> metrics[] = {{"Latency", &RunTrace::latency},
                                                       {"Enqueue Time", &RunTrace::enqueue},
                                                       {"H2D Latency", &RunTrace::upload},
                                                       {"GPU Compute Time", &RunTrace::compute},
                                                       {"D2H Latency", &RunTrace::download}};
  for (const auto& [name, part] : metrics) lines.push_back(metric_line(name, measured, part, options.percentiles));
  double compute = 0;
  for (const RunTrace& run : measured.trace) compute += run.compute();
  lines.insert(lines.end(), {fmt::format("Total Host Walltime: {} s", number(measured.seconds)),
                             fmt::format("Total GPU Compute Time: {} s", number(compute / 1000)),
                             "Explanations of the performance metrics are printed in the verbose logs.", ""});
  return lines;
}

std::vector<std::string> performance_warnings(const Measurement& measured) {
  constexpr double kBusyEnqueue = 0.8, kSteady = 0.025;
  const std::vector<double> times = samples_of(measured, &RunTrace::compute);
  const double compute = median(times);
  std::vector<std::string> warnings;
  if (const double spread = deviation(times) / mean(times); spread > kSteady)
    warnings.push_back(
        fmt::format("* GPU Compute Time is not steady: its standard deviation is {:.1f} % of its mean", 100 * spread));
  if (median(samples_of(measured, &RunTrace::enqueue)) > kBusyEnqueue * compute)
    warnings.emplace_back(
        "* Throughput may be bound by Enqueue Time: the host queues steps no faster than the GPU runs");
  for (const auto& [part, what] : {std::pair{&RunTrace::upload, "inputs"}, std::pair{&RunTrace::download, "outputs"}})
    if (median(samples_of(measured, part)) >= compute)
      warnings.push_back(
          fmt::format("* Throughput may be bound by copies of the {}; --noDataTransfers leaves them out", what));
  return warnings;
}

std::vector<std::string> explanation_lines() {
  return {"=== Explanations of the performance metrics ===",
          "Total Host Walltime: from the beginning of the first query after the warm-up to the end of the last one",
          "GPU Compute Time: what the device takes for the steps of a query; on a CPU, what the run takes",
          "Throughput: queries divided by Total Host Walltime",
          "Enqueue Time: what the host takes to queue a query; zero on a CPU",
          "H2D Latency: copying a query's inputs to the device; zero on a CPU",
          "D2H Latency: copying a query's outputs back; zero on a CPU",
          "Latency: H2D Latency, GPU Compute Time and D2H Latency together"};
}

std::vector<std::string> profile_lines(const std::vector<LayerTimes>& layers) {
  double total = 0, total_mean = 0, total_median = 0;
  size_t runs = 0;
  const auto sum = [](const LayerTimes& layer) {
    return mean(layer.milliseconds) * static_cast<double>(layer.milliseconds.size());
  };
  for (const LayerTimes& layer : layers) total += sum(layer);
  std::vector<std::string> rows;
  const auto add_row = [&](double all, double average, double middle, double percent, std::string_view name) {
    rows.push_back(fmt::format("{:11.2f} {:12.4f} {:12.4f} {:9.1f}   {}", all, average, middle, percent, name));
  };
  for (const LayerTimes& layer : layers) {
    const double all = sum(layer), average = mean(layer.milliseconds), middle = median(layer.milliseconds);
    runs = layer.milliseconds.size();
    total_mean += average;
    total_median += middle;
    add_row(all, average, middle, total > 0 ? 100 * all / total : 0, layer.name);
  }
  add_row(total, total_mean, total_median, 100, "Total");
  rows.insert(rows.begin(), {"", fmt::format("=== Profile ({} iterations ) ===", runs),
                             fmt::format("{:>11} {:>12} {:>12} {:>9}   {}", "Time(ms)", "Avg.(ms)", "Median(ms)",
                                         "Time(%)", "Layer")});
  rows.emplace_back("");
  return rows;
}

std::vector<std::string> layer_lines(const Engine& engine, bool detailed) {
  std::vector<std::string> lines = {"Layer Information:", "Layers:"};
  for (const Json& layer : layer_list(engine, detailed))
    lines.push_back(layer.is_string() ? layer.get<std::string>() : layer.dump());
  lines.emplace_back("Bindings:");
  for (const auto* tensors : {&engine.inputs(), &engine.outputs()})
    for (const TensorInfo& tensor : *tensors) lines.push_back(tensor.name);
  return lines;
}

std::vector<std::string> tensor_lines(const Tensors& tensors) {
  std::vector<std::string> lines;
  for (const auto& [name, tensor] : tensors) {
    lines.push_back(fmt::format("{}: ({})", name, format_dims(tensor.dims())));
    const int64_t row = tensor.dims().empty() ? 1 : std::max<int64_t>(1, tensor.dims().back());
    for (int64_t begin = 0; begin < tensor.elements(); begin += row) {
      std::string& line = lines.emplace_back();
      for (int64_t i = begin; i < begin + row; ++i) line += (i > begin ? " " : "") + number(tensor.read_double(i));
    }
  }
  return lines;
}

Json times_json(const Measurement& measured) {
  Json list = Json::array();
  for (const RunTrace& run : measured.trace)
    list.push_back({{"startEnqMs", run.enqueue_begin},
                    {"endEnqMs", run.enqueue_end},
                    {"startH2dMs", run.upload_begin},
                    {"endH2dMs", run.compute_begin},
                    {"startComputeMs", run.compute_begin},
                    {"endComputeMs", run.download_begin},
                    {"startD2hMs", run.download_begin},
                    {"endD2hMs", run.download_end},
                    {"h2dMs", run.upload()},
                    {"computeMs", run.compute()},
                    {"d2hMs", run.download()},
                    {"latencyMs", run.latency()}});
  return list;
}

Json profile_json(const std::vector<LayerTimes>& layers) {
  double total = 0;
  for (const LayerTimes& layer : layers) total += mean(layer.milliseconds);
  Json list = {{{"count", layers.empty() ? 0 : layers.front().milliseconds.size()}}};
  for (const LayerTimes& layer : layers) {
    const double average = mean(layer.milliseconds);
    list.push_back({{"name", layer.name},
                    {"timeMs", average * static_cast<double>(layer.milliseconds.size())},
                    {"averageMs", average},
                    {"medianMs", median(layer.milliseconds)},
                    {"percentage", total > 0 ? 100 * average / total : 0}});
  }
  return list;
}

Json layers_json(const Engine& engine, const std::vector<Profile>& profiles, bool detailed) {
  const Graph& graph = *engine.impl().model.graph;
  Json tensors = Json::array(), bindings = Json::array();
  for (size_t i = 0; i < graph.inputs().size(); ++i)
    tensors.push_back(io_json(*graph.inputs()[i], engine.inputs()[i].name, true, profiles));
  for (size_t i = 0; i < graph.outputs().size(); ++i)
    tensors.push_back(io_json(*graph.outputs()[i], engine.outputs()[i].name, false, profiles));
  for (const Json& tensor : tensors) bindings.push_back(tensor["Name"]);
  // Version 11 lists tensors, version 10 their names.
  return {{"Layers", layer_list(engine, detailed)}, {"I/O Tensors", tensors}, {"Bindings", bindings}};
}

Json tensors_json(const Tensors& tensors) {
  Json list = Json::array();
  for (const auto& [name, tensor] : tensors) {
    Json values = Json::array();
    for (int64_t i = 0; i < tensor.elements(); ++i) {
      if (is_float(tensor.dtype()))
        values.push_back(tensor.read_double(i));
      else
        values.push_back(tensor.read_int(i));
    }
    list.push_back({{"name", name}, {"dimensions", format_dims(tensor.dims())}, {"values", std::move(values)}});
  }
  return list;
}

std::string raw_file_name(std::string_view name, std::string_view direction, const Tensor& tensor) {
  std::string file = fmt::format("{}.{}.", name, direction);
  for (const int64_t size : tensor.dims()) file += fmt::format("{}.", size);
  file += type_name(tensor.dtype()) + ".raw";
  for (char& c : file)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '-') c = '_';
  return file;
}

}  // namespace lathe::tools
