// lathe build: a model becomes a plan.
#include <sys/resource.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_writer.h"
#include "base/stopwatch.h"
#include "build/plan_writer.h"
#include "build/tuner.h"
#include "build/waits.h"
#include "runtime/model_import.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/model_options.h"
#include "tools/precision_options.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

using nlohmann::json;

// The most memory that this process has had, files that it mapped included.
double peak_memory_bytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;
}

// All runs of one pass together: a pass of a group runs several times.
struct PassTotal {
  int runs = 0, rewrites = 0;
  int64_t removed = 0;
  double ms = 0;
};

class BuildCommand : public Command {
 public:
  CommandInfo info() const override {
    return {
        "build",
        "Build",
        "Optimise and tune a model for this machine and write a plan",
        "A plan runs any sizes, profiles or not: a profile says which sizes to tune for, and up to which largest sizes "
        "a session sets memory aside when it starts. Kernels are timed on the sizes of every profile, and the fastest "
        "serves each size as far as they share a layout of weights. Several profiles are numbered from 0; NAME may "
        "hold one '*'. From a plan, another plan is made: for other profiles, threads or instructions. Without any of "
        "them the kernels stay as they were chosen.",
        {{"build model.onnx -o model.plan", "any sizes"},
         {"build bert.onnx -o bert.plan --profile 'input_ids:1x8:1x128:8x512'", "tuned for 1x128"},
         {"build gpt2.onnx -o gpt2.plan --profile '*:1x1:1x16:1x64' --verbose",
          "one profile for all inputs; show every pass"},
         {"build bert.onnx -o bert-int8.plan --int8 --calib reviews.txt --tokenizer bert --accuracy 0.999",
          "bytes where they are accurate enough on these texts"},
         {"build bert.plan -o bert-avx2.plan --isa avx2", "the same model for an older machine"}}};
  }

  void add_options(CLI::App& app) override {
    app.add_option("MODEL", model_, "A .onnx model, a .plan or an encoder's checkpoint folder")->required();
    app.add_option("-o,--output", output_, "The plan to write (default: MODEL with .plan, in the current folder)")
        ->type_name("FILE.plan");
    app.add_option("--profile", profiles_, "Smallest, usual and largest sizes of an input; repeatable")
        ->type_name("[I:]NAME:MIN:OPT:MAX")
        ->allow_extra_args(false);
    app.add_option("--shape", shapes_, "Short for a profile whose three sizes are equal; repeatable")
        ->type_name("NAME:1x128")
        ->allow_extra_args(false);
    app.add_option("--timing-cache", timing_cache_,
                   "Kernel times, and types of layers, to use instead of measuring, and to add to")
        ->type_name("FILE.json");
    app.add_flag("-v,--verbose", verbose_, "Show every run of a pass, and why kernels were chosen");
    add_model_options(app, options_);
    add_precision_options(app, precision_);
  }

  int run(Console& console) override {
    precision_.check();
    if (output_.empty()) output_ = std::filesystem::path(model_).filename().replace_extension(".plan").string();
    if (std::filesystem::exists(output_) && std::filesystem::exists(model_) &&
        std::filesystem::equivalent(output_, model_))
      fail(ErrorCode::invalid_argument, "the plan would overwrite the model '{}'", model_);
    { const FileWriter probe(output_); }  // fails now rather than after the work
    const Stopwatch watch;
    Progress progress(console);
    if (!timing_cache_.empty()) {
      cache_ = TimingCache::load(timing_cache_);
      precision_.outcomes = &cache_;
    }
    CompiledModel compiled = is_plan(model_) ? open_plan(progress) : import_and_compile(progress, console);
    if (precision_report_ && !precision_report_->met) return report_miss(progress, console);
    std::vector<Profile> profiles = parse_profiles(*compiled.graph);
    const bool tunes = !profiles.empty() || (plan_ != nullptr && (options_.threads > 0 || !timing_cache_.empty()));
    if (profiles.empty() && plan_ != nullptr) profiles = plan_->info().profiles;
    if (tunes && !profiles.empty()) compiled = tune_kernels(std::move(compiled), profiles, progress);
    if (!timing_cache_.empty() && cache_.changed()) cache_.save(timing_cache_);
    write(compiled, profiles, progress);
    progress.clear();
    total_ms_ = watch.milliseconds();
    report(compiled, console);
    return kExitOk;
  }

 private:
  std::vector<Profile> parse_profiles(const Graph& graph) const {
    std::vector<ProfileArg> args;
    for (const std::string& text : profiles_) args.push_back(parse_profile_arg(text));
    for (const std::string& text : shapes_) {
      const ShapeArg shape = parse_shape_arg(text);
      args.push_back({0, shape.pattern, {shape.dims, shape.dims, shape.dims}});
    }
    return make_profiles(graph, args);  // refuses sizes that the model cannot take now, not when the plan runs
  }

  CompiledModel import_and_compile(Progress& progress, Console& console) {
    const Stopwatch watch;
    progress.show("importing " + model_);
    auto graph = import_graph(model_);
    import_ms_ = watch.milliseconds();
    nodes_before_ = passes::count_nodes(*graph);
    parse_profiles(*graph);  // what is wrong with them shows before the long work
    return compile_model(std::move(graph), progress, console);
  }

  CompiledModel open_plan(Progress& progress) {
    if (precision_.any())
      throw Error(ErrorCode::invalid_argument, "the types of a plan's layers are settled")
          .in_file(model_)
          .remedy("Build from the model");
    if (!options_.disabled_passes.empty())
      throw Error(ErrorCode::invalid_argument, "the passes have run already on what a plan holds")
          .in_file(model_)
          .remedy("Leave --disable-pass out, or build from the model");
    const Stopwatch watch;
    progress.show("opening " + model_);
    try {
      const auto plan = std::make_shared<Plan>(Plan::open(model_));
      CompiledModel compiled = lower_plan(plan, options_.compile_options());
      plan_ = plan;
      nodes_before_ = passes::count_nodes(*compiled.graph);
      threads_ = plan->info().threads;
      import_ms_ = watch.milliseconds();
      return compiled;
    } catch (Error& error) {
      throw error.in_file(model_);
    }
  }

  CompiledModel compile_model(std::unique_ptr<Graph> graph, Progress& progress, Console& console) {
    const Stopwatch watch;
    CompileOptions compile_options = options_.compile_options();
    const size_t expected = passes::pass_table().size();
    size_t done = 0;
    compile_options.passes.trace = [&](const passes::PassReport& report, const Graph&) {
      check_interrupted();
      progress.show(fmt::format("{}: {} nodes", report.name, report.nodes_after),
                    std::min(1.0, static_cast<double>(++done) / static_cast<double>(expected)));
      if (verbose_ && report.rewrites > 0) {
        progress.clear();
        console.note("  {:<24} {:>5} -> {:>5} nodes, {} rewrites, {}", report.name, report.nodes_before,
                     report.nodes_after, report.rewrites, format_time(report.ms));
      }
    };
    if (precision_.any())
      compile_options.after_passes = [&](Graph& optimised) { lower_precision(optimised, progress, console); };
    CompiledModel compiled = compile(std::move(graph), compile_options);
    compile_ms_ = watch.milliseconds() - precision_ms_;
    return compiled;
  }

  void lower_precision(Graph& graph, Progress& progress, Console& console) {
    const Stopwatch watch;
    const std::vector<Profile> profiles = parse_profiles(graph);
    const Sizes sizes = profiles.empty() ? Sizes() : usual_sizes(profiles.front());
    precision_report_ = assign_precision(graph, precision_, options_.compile_options(), options_.threads, sizes, model_,
                                         [&](const std::string& what) {
                                           check_interrupted();
                                           progress.show(what);
                                           if (!verbose_) return;
                                           progress.clear();
                                           console.note("  {:>8}  {}", format_time(watch.milliseconds()), what);
                                         });
    precision_ms_ = watch.milliseconds();
  }

  // No plan is written.
  int report_miss(Progress& progress, Console& console) const {
    progress.clear();
    console.result({{"model", model_}, {"precision", report_precision(*precision_report_, precision_, console, true)}});
    console.note(
        "lathe: nothing narrower than the model's own types meets the bound (cosine {}{}{}); a lower --accuracy, or "
        "--calib with real inputs, may",
        precision_.accuracy, precision_.max_error > 0 ? fmt::format(", error {}", precision_.max_error) : std::string(),
        precision_.top1 > 0 ? fmt::format(", first choices {}", precision_.top1) : std::string());
    return kExitMissedBound;
  }

  // Times the kernels that compete on the usual sizes of the profiles, and lowers again with the winners.
  CompiledModel tune_kernels(CompiledModel compiled, const std::vector<Profile>& profiles, Progress& progress) {
    const Stopwatch watch;
    const size_t known = cache_.size();
    threads_ = options_.thread_count();
    const TuneOptions tune_options = {threads_, profiles, [&](size_t done, size_t total) {
                                        check_interrupted();
                                        progress.show("timing kernels",
                                                      static_cast<double>(done) / static_cast<double>(total));
                                      }};
    CompiledModel best = tuned(std::move(compiled), options_.compile_options(), tune_options, cache_);
    timed_ = cache_.size() - known;
    tune_ms_ = watch.milliseconds();
    return best;
  }

  void write(const CompiledModel& compiled, const std::vector<Profile>& profiles, Progress& progress) {
    const Stopwatch watch;
    PlanWriteOptions write_options;
    write_options.model = plan_ != nullptr ? plan_->info().model : std::filesystem::path(model_).filename().string();
    write_options.profiles = profiles;
    write_options.threads = threads_;
    write_options.progress = [&](uint64_t done, uint64_t total) {
      check_interrupted();
      progress.show("writing " + output_, total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1);
    };
    size_ = write_plan(output_, compiled, write_options);
    write_ms_ = watch.milliseconds();
  }

  void report(const CompiledModel& compiled, Console& console) const {
    size_t steps = 0;
    visit_steps(compiled.program, [&](const ProgramStep&) { ++steps; });
    json document = {{"model", model_},
                     {"plan", output_},
                     {"device", options_.device},
                     {"target", compiled.backend->target()},
                     {"plan_bytes", size_.file_bytes},
                     {"weight_bytes", size_.weight_bytes},
                     {"nodes_before", nodes_before_},
                     {"nodes_after", passes::count_nodes(*compiled.graph)},
                     {"steps", steps},
                     {"passes", report_passes(compiled, console)},
                     {"kernels", report_kernels(compiled, console)},
                     {"import_ms", import_ms_},
                     {"optimise_ms", compile_ms_},
                     {"precision_ms", precision_ms_},
                     {"tune_ms", tune_ms_},
                     {"kernels_timed", timed_},
                     {"write_ms", write_ms_},
                     {"total_ms", total_ms_},
                     {"peak_memory_bytes", peak_memory_bytes()}};
    if (precision_report_) document["precision"] = report_precision(*precision_report_, precision_, console, verbose_);
    console.print("{}  {} nodes became {} steps for {} ({})\n", console.paint(Colour::bold, output_), nodes_before_,
                  steps, options_.device, compiled.backend->target());
    console.print(
        "plan         {}, weights {}\ntime         {}: import {}, optimise {}, time kernels {}, write {}\npeak memory  "
        "{}\n",
        format_bytes(static_cast<double>(size_.file_bytes)), format_bytes(static_cast<double>(size_.weight_bytes)),
        format_time(total_ms_), format_time(import_ms_), format_time(compile_ms_), format_time(tune_ms_),
        format_time(write_ms_), format_bytes(peak_memory_bytes()));
    if (!compiled.backend->host_memory()) document["waits"] = report_waits(find_waits(compiled.program), console);
    console.result(document);
  }

  // On a device with memory of its own.
  static json report_waits(const Waits& waits, Console& console) {
    std::string text = "at its end";
    json document = {{"growing_values", waits.growing}};
    const auto add = [&](const char* name, const Waits::Count& count, std::string_view what) {
      document[name] = count.steps;
      if (count.steps == 0) return;
      std::string ops;
      for (const std::string& op : count.ops) ops += (ops.empty() ? "" : " ") + op;
      text += fmt::format(", {} {} ({})", count.steps, what, ops);
    };
    add("sizes", waits.sizes, "for sizes");
    add("conditions", waits.conditions, "for conditions");
    add("fallbacks", waits.fallbacks, "for steps on the host");
    if (waits.growing > 0)
      text += fmt::format("; memory grows with the sizes of {} value{}", waits.growing, waits.growing == 1 ? "" : "s");
    console.print("waits        {}\n", text);
    return document;
  }

  static json report_passes(const CompiledModel& compiled, Console& console) {
    std::vector<std::pair<std::string, PassTotal>> totals;
    for (const passes::PassReport& report : compiled.passes) {
      auto found =
          std::find_if(totals.begin(), totals.end(), [&](const auto& entry) { return entry.first == report.name; });
      if (found == totals.end()) {
        totals.emplace_back(std::string(report.name), PassTotal{});
        found = totals.end() - 1;
      }
      PassTotal& sum = found->second;
      sum.removed += static_cast<int64_t>(report.nodes_before) - static_cast<int64_t>(report.nodes_after);
      sum.rewrites += report.rewrites;
      sum.ms += report.ms;
      ++sum.runs;
    }
    Table table({{"pass"},
                 {"rewrites", Table::Align::right},
                 {"nodes removed", Table::Align::right},
                 {"time", Table::Align::right}});
    json list = json::array();
    for (const auto& [name, sum] : totals) {
      if (sum.rewrites > 0)
        table.add_row({name, std::to_string(sum.rewrites), std::to_string(sum.removed), format_time(sum.ms)});
      list.push_back({{"name", name},
                      {"runs", sum.runs},
                      {"rewrites", sum.rewrites},
                      {"nodes_removed", sum.removed},
                      {"ms", sum.ms}});
    }
    console.print("{}\n", table.render(console));
    return list;
  }

  json report_kernels(const CompiledModel& compiled, Console& console) const {
    struct Use {
      size_t steps = 0;
      bool fallback = false;
      std::string reason;
    };
    std::map<std::pair<std::string, std::string>, Use> uses;  // by op and kernel
    visit_steps(compiled.program, [&](const ProgramStep& step) {
      Use& use = uses[{std::string(op_name(step.node->op())), step.kernel}];
      ++use.steps;
      use.fallback = step.fallback;
      if (!step.reason.empty()) use.reason = step.reason;
    });
    std::vector<Table::Column> columns = {{"op"}, {"kernel"}, {"steps", Table::Align::right}, {""}};
    if (verbose_) columns.push_back({"instead of", Table::Align::left, 80});
    Table table(std::move(columns));
    json list = json::array();
    for (const auto& [key, use] : uses) {
      std::vector<std::string> row = {key.first, key.second, std::to_string(use.steps),
                                      use.fallback ? console.paint(Colour::yellow, "fallback") : ""};
      if (verbose_) row.push_back(use.reason);
      table.add_row(std::move(row));
      list.push_back({{"op", key.first},
                      {"kernel", key.second},
                      {"steps", use.steps},
                      {"fallback", use.fallback},
                      {"reason", use.reason}});
    }
    console.print("{}\n", table.render(console));
    return list;
  }

  std::string model_, output_;
  std::vector<std::string> profiles_, shapes_;
  bool verbose_ = false;
  ModelOptions options_;
  PrecisionArgs precision_;
  std::optional<precision::Report> precision_report_;
  std::shared_ptr<const Plan> plan_;  // that the model comes from; null for a .onnx
  PlanSize size_;
  size_t nodes_before_ = 0;
  double import_ms_ = 0, compile_ms_ = 0, write_ms_ = 0, total_ms_ = 0;
  double precision_ms_ = 0, tune_ms_ = 0;
  size_t timed_ = 0;  // kernels measured
  int threads_ = 0;   // that they were measured with
  std::string timing_cache_;
  TimingCache cache_;
};

}  // namespace

std::unique_ptr<Command> make_build_command() { return std::make_unique<BuildCommand>(); }

}  // namespace lathe::tools
