// lathe bench: latency and throughput, per-layer times, sweeps.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "tools/benchmark.h"
#include "tools/command.h"
#include "tools/device_peak.h"
#include "tools/llm_bench.h"
#include "tools/llm_inspect.h"
#include "tools/model_facts.h"
#include "tools/model_options.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

constexpr double kProfileSeconds = 1;
constexpr double kSweepSeconds = 1;
constexpr size_t kMaxSweepPoints = 1000;

// Inferences of one run: the value of the dimension that is called the batch.
int64_t batch_of(const ChosenSizes& sizes) {
  for (const auto& [symbol, value] : sizes.symbols)
    if (symbol.find("batch") != std::string::npos) return value;
  return 1;
}

std::vector<double> mean_step_times(Session& session, const Tensors& inputs, int64_t runs) {
  std::vector<double> times;
  for (const std::vector<double>& samples : step_times(session, inputs, runs)) times.push_back(mean(samples));
  return times;
}

// The type that decides which of the device's rates a step can reach.
DType computes_with(const ProgramStep& step) {
  for (const Value* value : step.node->inputs())
    if (value != nullptr) return value->dtype();
  return DType::f32;
}

// The medians of what a run consists of on a device with memory of its own.
struct Parts {
  explicit Parts(const std::vector<RunTrace>& trace)
      : upload(median_of(trace, &RunTrace::upload)),
        compute(median_of(trace, &RunTrace::compute)),
        download(median_of(trace, &RunTrace::download)) {}

  double upload, compute, download;

 private:
  static double median_of(const std::vector<RunTrace>& trace, double (RunTrace::*part)() const) {
    std::vector<double> samples;
    for (const RunTrace& run : trace) samples.push_back((run.*part)());
    return median(std::move(samples));
  }
};

// One setting of a sweep.
struct Point {
  std::vector<DimArg> dims;  // "threads" among them if swept
  int threads = 0;
  int64_t batch = 1;
  Measurement measurement;
  double items_per_second() const { return measurement.runs_per_second * static_cast<double>(batch); }
};

std::vector<std::vector<DimArg>> combinations(const std::vector<SweepArg>& sweeps) {
  std::vector<std::vector<DimArg>> all = {{}};
  for (const SweepArg& sweep : sweeps) {
    std::vector<std::vector<DimArg>> longer;
    for (const auto& dims : all)
      for (const int64_t value : sweep.values) {
        longer.push_back(dims);
        longer.back().push_back({sweep.symbol, value});
      }
    all = std::move(longer);
    if (all.size() > kMaxSweepPoints)
      fail(ErrorCode::invalid_argument, "the sweep has more than {} settings", kMaxSweepPoints);
  }
  return all;
}

class BenchCommand : public Command {
 public:
  CommandInfo info() const override {
    return {
        "bench",
        "Run and check",
        "Measure latency and throughput of a model, plan or checkpoint",
        "Runs are timed after a warm-up. GFLOP/s counts a multiply-add as two; GB/s counts every operand and result of "
        "a step once. With --profile, \"of peak\" is the time that this machine needs at best for the step's "
        "arithmetic "
        "or traffic, as measured just before, divided by the time it took. On a GPU each step is timed by itself, what "
        "lies between two steps included, so that they add up to more than a run that is replayed.",
        {{"bench model.plan --shape input_ids:1x128 --duration 5", "one size, five seconds"},
         {"bench model.onnx --threads 2 --profile", "where the time goes, step by step"},
         {"bench model.plan --sweep batch=1,2,4,8 threads=1,2 --latency 20ms", "best throughput under a latency bound"},
         {"bench ./tigerbot-7b --pp 512 --tg 128 --batch 1,8", "prompts and answers of a language model"}}};
  }

  void add_options(CLI::App& app) override {
    app.add_option("MODEL", model_, "A .onnx model, a .plan or a checkpoint folder")->required();
    auto* seconds =
        app.add_option("--duration", seconds_, "Measure for this long (default 3; 1 per setting of a sweep)")
            ->type_name("S");
    app.add_option("--iterations", iterations_, "Measure this many runs instead")
        ->type_name("N")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 40).description(""))
        ->excludes(seconds);
    app.add_option("--warmup", warmup_, "Run this long before anything counts (default 200)")
        ->type_name("MS")
        ->check(CLI::Range(0.0, 1e9).description(""));
    app.add_option("--streams", streams_, "Sessions that run at the same time (default 1)")
        ->type_name("N")
        ->check(CLI::Range(1, 256).description(""));
    app.add_flag("--no-data-transfers", resident_, "On a GPU: leave inputs and outputs in its memory");
    app.add_flag("--profile", profile_, "Show the time of every step; of a language model, of layers together");
    app.add_option("--sweep", sweeps_, "Measure every combination of values of dimensions and of 'threads'")
        ->type_name("NAME=1,2,4...")
        ->expected(1, -1);
    app.add_option("--latency", latency_, "With --sweep: find the best throughput whose p99 is at most this")
        ->type_name("2ms");
    add_llm_bench_options(app, llm_);
    add_input_options(app, inputs_, true);
    add_model_options(app, options_);
  }

  int run(Console& console) override {
    if (llm_.asked || is_language_model(model_)) return run_llm(console);
    if (seconds_ && !(*seconds_ > 0 && *seconds_ < 1e6))
      fail(ErrorCode::invalid_argument, "--duration {} is not a number of seconds", *seconds_);
    if (!latency_.empty() && sweeps_.empty())
      throw Error(ErrorCode::invalid_argument, "--latency needs something to choose from")
          .remedy("Add --sweep batch=1,2,4");
    if (!sweeps_.empty() && (profile_ || !inputs_.files.empty()))
      fail(ErrorCode::invalid_argument, "--sweep changes sizes: it goes with neither --input nor --profile");
    engine_ = open_model(model_, options_, console);
    return sweeps_.empty() ? run_single(console) : run_sweep(console);
  }

 private:
  int run_llm(Console& console) {
    LlmOptions open;
    open.folder = model_;
    open.engine.device = options_.device;
    open.engine.isa = options_.isa;
    open.engine.threads = options_.threads;
    llm_.profile = profile_;
    bench_llm(open, llm_, console);
    return kExitOk;
  }

  BenchmarkOptions benchmark_options(int threads, double default_seconds) const {
    BenchmarkOptions options;
    options.session = {threads, options_.graphs};
    options.streams = streams_;
    options.warmup_ms = warmup_;
    options.seconds = iterations_ > 0 ? 0 : seconds_.value_or(default_seconds);
    options.iterations = std::max<int64_t>(1, iterations_);
    options.transfers = !resident_;
    return options;
  }

  int run_single(Console& console) {
    const int threads = options_.thread_count();
    const Graph& graph = *engine_->impl().model.graph;
    const ModelInputs inputs = make_inputs(graph, inputs_, console);
    Progress progress(console);
    progress.show("measuring");
    Session session(engine_, {threads, options_.graphs});
    const std::vector<Cost> costs = step_costs(session, inputs.tensors);
    const BenchmarkOptions options = benchmark_options(threads, BenchmarkOptions{}.seconds);
    const Measurement measured = measure(engine_, inputs.tensors, options);
    progress.clear();
    const Cost cost = total(costs);
    const double gflops = cost.flops * measured.runs_per_second * 1e-9,
                 gbytes = cost.bytes * measured.runs_per_second * 1e-9;
    nlohmann::json document = {
        {"model", model_},
        {"device", options_.device},
        {"target", engine_->impl().model.backend->target()},
        {"threads", threads},
        {"streams", streams_},
        {"shapes", inputs.sizes.inputs},
        {"latency_ms", to_json(measured.latency_ms)},
        {"seconds", measured.seconds},
        {"runs_per_second", measured.runs_per_second},
        {"items_per_second", measured.runs_per_second * static_cast<double>(batch_of(inputs.sizes))},
        {"gflop_per_run", cost.flops * 1e-9},
        {"gflops", gflops},
        {"gbytes_per_second", gbytes}};
    print_single(inputs, measured, batch_of(inputs.sizes), gflops, gbytes, console);
    if (!engine_->impl().model.backend->host_memory()) {
      const Parts parts(measured.trace);
      console.print("on the GPU  copy in {}, compute {}, copy out {} (medians)\n", format_time(parts.upload),
                    format_time(parts.compute), format_time(parts.download));
      document["device_ms"] = {{"upload", parts.upload}, {"compute", parts.compute}, {"download", parts.download}};
    }
    if (profile_) profile(session, inputs.tensors, costs, document, console);
    console.result(document);
    return kExitOk;
  }

  void print_single(const ModelInputs& inputs, const Measurement& m, int64_t batch, double gflops, double gbytes,
                    Console& console) const {
    console.print("{} on {} ({}), {} thread{}{}\n", model_, options_.device, engine_->impl().model.backend->target(),
                  options_.thread_count(), options_.thread_count() == 1 ? "" : "s",
                  streams_ > 1 ? fmt::format(", {} streams", streams_) : "");
    Table sizes({{""}, {""}});
    for (const auto& [name, dims] : inputs.sizes.inputs) sizes.add_row({"  " + name, format_dims(dims)});
    console.print("{}\n", sizes.render(console));
    const Summary& s = m.latency_ms;
    Table latency({{"latency"},
                   {"min", Table::Align::right},
                   {"mean", Table::Align::right},
                   {"median", Table::Align::right},
                   {"p90", Table::Align::right},
                   {"p95", Table::Align::right},
                   {"p99", Table::Align::right},
                   {"max", Table::Align::right}});
    latency.add_row({"", format_time(s.min), format_time(s.mean), format_time(s.median), format_time(s.p90),
                     format_time(s.p95), format_time(s.p99), format_time(s.max)});
    console.print("{}\n", latency.render(console));
    console.print("throughput  {} runs/s", format_number(m.runs_per_second));
    if (batch > 1) console.print(", {} items/s", format_number(m.runs_per_second * static_cast<double>(batch)));
    console.print(" over {} runs\nachieved    {} GFLOP/s, {} GB/s\n", s.count, format_number(gflops),
                  format_number(gbytes));
  }

  void profile(Session& session, const Tensors& inputs, const std::vector<Cost>& costs, nlohmann::json& document,
               Console& console) const {
    const Program& program = engine_->impl().model.program;
    const int64_t calibration = 3;
    const std::vector<double> rough = mean_step_times(session, inputs, calibration);
    const double run_ms = std::accumulate(rough.begin(), rough.end(), 1e-3);
    const auto runs = static_cast<int64_t>(std::clamp(kProfileSeconds * 1000 / run_ms, 5.0, 1e4));
    const std::vector<double> times = mean_step_times(session, inputs, runs);
    const DevicePeak peak(options_);
    const double sum = std::accumulate(times.begin(), times.end(), 0.0);

    Table table({{"step", Table::Align::left, 44},
                 {"op"},
                 {"kernel"},
                 {"ms", Table::Align::right},
                 {"%", Table::Align::right},
                 {"GFLOP/s", Table::Align::right},
                 {"GB/s", Table::Align::right},
                 {"of peak", Table::Align::right}});
    nlohmann::json layers = nlohmann::json::array();
    std::map<std::string, double> by_kernel;
    for (size_t i = 0; i < times.size(); ++i) {
      const ProgramStep& step = program.steps[i];
      const double seconds = times[i] / 1000, floor = peak.floor_seconds(costs[i], computes_with(step));
      const double gflops = costs[i].flops / seconds * 1e-9, gbytes = costs[i].bytes / seconds * 1e-9;
      const std::string name = step_name(program, step);
      const std::string op(op_name(step.node->op()));
      table.add_row({name, op, step.kernel, fmt::format("{:.4f}", times[i]),
                     fmt::format("{:.1f}", 100 * times[i] / sum), format_number(gflops), format_number(gbytes),
                     format_percent(floor / seconds)});
      layers.push_back({{"name", name},
                        {"node", step.node->name()},
                        {"op", op},
                        {"kernel", step.kernel},
                        {"ms", times[i]},
                        {"percent", 100 * times[i] / sum},
                        {"gflops", gflops},
                        {"gbytes_per_second", gbytes},
                        {"fraction_of_peak", floor / seconds}});
      by_kernel[step.kernel] += times[i];
    }
    console.print("\n{}\n", table.render(console));
    print_kernels(by_kernel, sum, console);
    console.print("\nsteps take {} of a run, mean of {} runs\n{}\n", format_time(sum), runs, peak.describe());
    document["layers"] = std::move(layers);
    document["peak"] = peak.json();
  }

  static void print_kernels(const std::map<std::string, double>& by_kernel, double sum, Console& console) {
    std::vector<std::pair<double, std::string>> sorted;
    for (const auto& [kernel, ms] : by_kernel) sorted.emplace_back(ms, kernel);
    std::sort(sorted.rbegin(), sorted.rend());
    Table table({{"kernel"}, {"ms", Table::Align::right}, {"%", Table::Align::right}});
    for (const auto& [ms, kernel] : sorted)
      table.add_row({kernel, fmt::format("{:.4f}", ms), fmt::format("{:.1f}", 100 * ms / sum)});
    console.print("{}", table.render(console));
  }

  int run_sweep(Console& console) {
    std::vector<SweepArg> sweeps;
    for (const std::string& text : sweeps_) sweeps.push_back(parse_sweep_arg(text));
    const auto settings = combinations(sweeps);
    std::vector<Point> points;
    Progress progress(console);
    for (const auto& setting : settings) {
      progress.show(fmt::format("measuring {}", to_string(setting)),
                    static_cast<double>(points.size()) / static_cast<double>(settings.size()));
      points.push_back(measure_point(setting));
    }
    progress.clear();
    const double bound = latency_.empty() ? INFINITY : parse_milliseconds(latency_);
    const Point* best = nullptr;
    for (const Point& point : points)
      if (point.measurement.latency_ms.p99 <= bound &&
          (best == nullptr || point.items_per_second() > best->items_per_second()))
        best = &point;
    report_sweep(points, best, sweeps, console);
    return best == nullptr ? kExitNo : kExitOk;
  }

  Point measure_point(const std::vector<DimArg>& setting) const {
    Point point;
    point.dims = setting;
    point.threads = options_.thread_count();
    InputOptions input_options = inputs_;
    for (const DimArg& dim : setting) {
      if (dim.symbol == "threads")
        point.threads = static_cast<int>(std::clamp<int64_t>(dim.value, 1, 1024));
      else
        input_options.dims.push_back(fmt::format("{}={}", dim.symbol, dim.value));
    }
    const Graph& graph = *engine_->impl().model.graph;
    ModelInputs inputs{{}, choose_sizes(graph, input_options)};
    for (const Value* input : graph.inputs())
      inputs.tensors.emplace(input->name(), random_input(*input, inputs.sizes.inputs.at(input->name()),
                                                         inputs.sizes.inputs, inputs_.seed, inputs_.made_up_lengths()));
    point.batch = batch_of(inputs.sizes);
    point.measurement = measure(engine_, inputs.tensors, benchmark_options(point.threads, kSweepSeconds));
    return point;
  }

  void report_sweep(const std::vector<Point>& points, const Point* best, const std::vector<SweepArg>& sweeps,
                    Console& console) const {
    std::vector<Table::Column> columns;
    for (const SweepArg& sweep : sweeps) columns.push_back({sweep.symbol, Table::Align::right});
    for (const char* title : {"median", "p99", "runs/s", "items/s"}) columns.push_back({title, Table::Align::right});
    columns.push_back({""});
    Table table(std::move(columns));
    nlohmann::json list = nlohmann::json::array();
    for (const Point& point : points) {
      std::vector<std::string> row;
      nlohmann::json setting;
      for (const DimArg& dim : point.dims) {
        row.push_back(std::to_string(dim.value));
        setting[dim.symbol] = dim.value;
      }
      const Measurement& m = point.measurement;
      row.insert(row.end(),
                 {format_time(m.latency_ms.median), format_time(m.latency_ms.p99), format_number(m.runs_per_second),
                  format_number(point.items_per_second()), &point == best ? console.paint(Colour::green, "best") : ""});
      table.add_row(std::move(row));
      list.push_back({{"setting", setting},
                      {"latency_ms", to_json(m.latency_ms)},
                      {"runs_per_second", m.runs_per_second},
                      {"items_per_second", point.items_per_second()},
                      {"best", &point == best}});
    }
    console.print("{}\n", table.render(console));
    if (best == nullptr)
      console.print("No setting keeps p99 at or below {}.\n", latency_);
    else if (!latency_.empty())
      console.print("Best throughput with p99 at or below {}: {} ({} items/s).\n", latency_, to_string(best->dims),
                    format_number(best->items_per_second()));
    console.result({{"model", model_}, {"device", options_.device}, {"streams", streams_}, {"points", list}});
  }

  std::string model_, latency_;
  std::optional<double> seconds_;
  int64_t iterations_ = 0;
  double warmup_ = BenchmarkOptions{}.warmup_ms;
  int streams_ = 1;
  bool profile_ = false, resident_ = false;
  std::vector<std::string> sweeps_;
  InputOptions inputs_;
  LlmBenchOptions llm_;
  ModelOptions options_;
  std::shared_ptr<const Engine> engine_;
};

}  // namespace

std::unique_ptr<Command> make_bench_command() { return std::make_unique<BenchCommand>(); }

}  // namespace lathe::tools
