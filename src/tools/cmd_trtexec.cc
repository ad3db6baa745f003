// lathe trtexec: builds and measures with trtexec's flags, and reports in trtexec's form, so that scripts and guides
// written for it go on working. The flags are in trtexec_flags.h, the words in trtexec_report.h.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "backends/cuda/survey.h"
#include "base/error.h"
#include "base/file_writer.h"
#include "base/stopwatch.h"
#include "build/plan_writer.h"
#include "build/tuner.h"
#include "lathe/version.h"
#include "onnx/importer.h"
#include "precision/range_file.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/model_facts.h"
#include "tools/model_options.h"
#include "tools/precision_options.h"
#include "tools/tensor_files.h"
#include "tools/trtexec_report.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

constexpr double kProfileSeconds = 1;

void write_json(const std::string& path, const nlohmann::json& document) {
  FileWriter file(path);
  file.write(document.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  file.commit();
}

// One call of trtexec whose flags are known.
class Job {
 public:
  Job(const TrtexecOptions& options, const TrtexecLog& log, Console& console)
      : options_(options), log_(log), console_(console) {}

  nlohmann::json run() {
    if (options_.onnx.empty() == options_.load_engine.empty())
      throw Error(ErrorCode::invalid_argument,
                  options_.onnx.empty() ? "there is no model" : "there are two models, --onnx and --loadEngine")
          .remedy("Give --onnx=FILE or --loadEngine=FILE");
    if (options_.plan_version_only && options_.load_engine.empty())
      throw Error(ErrorCode::invalid_argument, "a model has no version of a plan").remedy("Give --loadEngine=FILE");
    if (options_.plan_version_only) return say_plan_version();
    if (!options_.save_engine.empty()) const FileWriter probe(options_.save_engine);  // fails now, not after the work
    choose_device();
    if (options_.onnx.empty())
      load();
    else
      build();
    show_layers();
    nlohmann::json document = {{"device", model_options_.device}, {"plan", options_.save_engine}};
    if (!options_.build_only) document["performance"] = infer();
    return document;
  }

 private:
  nlohmann::json say_plan_version() {
    check_is_plan();
    const std::string version = Plan::open(options_.load_engine).info().lathe_version;
    log_.info("Plan was built by lathe " + version);
    return {{"lathe_version", version}};
  }

  void check_is_plan() const {
    if (!is_plan(options_.load_engine))
      throw Error(ErrorCode::invalid_model, "this is no plan of Lathe; engines of TensorRT cannot be read")
          .in_file(options_.load_engine)
          .remedy("Build a plan from the ONNX model: --onnx=MODEL.onnx --saveEngine=FILE");
  }

  // A GPU if one can be used, else the CPU, which is said.
  void choose_device() {
    model_options_.graphs = options_.graphs;
    model_options_.tf32 = options_.tf32;
    if (options_.device == "cpu") return;
    const std::string device = "cuda:" + options_.device;
    const std::optional<int> ordinal = cuda_ordinal(device);
    if (!ordinal)
      fail(ErrorCode::invalid_argument, "--device={} is neither the number of a GPU nor cpu", options_.device);
    const std::string problem = cuda::why_unusable(*ordinal);
    if (problem.empty())
      model_options_.device = device;
    else
      log_.warning("GPU " + options_.device + " cannot be used, this runs on the CPU: " + problem);
  }

  void load() {
    check_is_plan();
    const Stopwatch watch;
    engine_ = open_model(options_.load_engine, model_options_, console_);
    profiles_ = engine_->impl().plan->info().profiles;
    log_.info(fmt::format("Engine loaded in {:.6g} sec.", watch.seconds()));
    say_device();
  }

  void build() {
    const Stopwatch watch;
    log_.info("Start parsing network model.");
    auto graph = onnx::import_model(options_.onnx);
    profiles_ = make_profiles(*graph, profile_args(options_));
    log_.info(fmt::format("Finished parsing network model. Parse time: {:.6g}", watch.seconds()));
    const Stopwatch build_watch;
    CompileOptions compile_options = model_options_.compile_options();
    compile_options.passes.trace = [&](const passes::PassReport& report, const Graph&) {
      check_interrupted();
      if (report.rewrites > 0)
        log_.verbose(fmt::format("{}: {} -> {} nodes", report.name, report.nodes_before, report.nodes_after));
    };
    if (options_.precision.any()) compile_options.after_passes = [&](Graph& optimised) { lower_precision(optimised); };
    CompiledModel compiled = compile(std::move(graph), compile_options);
    if (!profiles_.empty() && options_.optimisation_level > 0) compiled = time_kernels(std::move(compiled));
    log_.info(fmt::format("Engine built in {:.6g} sec.", build_watch.seconds()));
    if (!options_.save_engine.empty()) save(compiled);
    engine_ = make_engine(std::move(compiled));
    say_device();
  }

  // As trtexec does, a build goes on when the accuracy is missed.
  void lower_precision(Graph& graph) {
    const PrecisionFlags& flags = options_.precision;
    const bool on_gpu = cuda_ordinal(model_options_.device).has_value();
    if (flags.int4) log_.warning("Layers cannot compute in int4; the other types are used");
    if (flags.fp8 && !on_gpu) log_.warning("Layers cannot compute in fp8 on the CPU; the other types are used");
    PrecisionArgs args;
    args.fp16 = flags.fp16;
    args.bf16 = flags.bf16;
    args.fp8 = flags.fp8 && on_gpu;
    args.int8 = flags.int8;
    args.best = flags.best;
    if (!args.any()) return;
    args.layer_types = flags.layers;
    const bool ranges = std::filesystem::path(flags.calibration).extension() == ".json" ||
                        precision::is_tensorrt_cache(flags.calibration);
    (ranges ? args.cache : args.calibration.inputs.source) = flags.calibration;
    const Sizes sizes = profiles_.empty() ? Sizes() : usual_sizes(profiles_.front());
    const precision::Report report =
        assign_precision(graph, args, model_options_.compile_options(), model_options_.threads, sizes, options_.onnx,
                         [&](const std::string& what) {
                           check_interrupted();
                           log_.verbose(what);
                         });
    for (const precision::LayerReport& layer : report.layers)
      if (!(layer.type == layer.wanted)) log_.verbose(fmt::format("{} is kept wider: {}", layer.name, layer.reason));
    for (const auto& [name, agreement] : report.outputs)
      log_.info(fmt::format("Accuracy of {}: cosine {:.6f} to FP32", name, agreement.cosine));
    if (!report.met) log_.warning("No assignment of types meets the accuracy; this is the one that comes closest");
  }

  CompiledModel time_kernels(CompiledModel compiled) {
    TimingCache cache = options_.timing_cache.empty() ? TimingCache() : TimingCache::load(options_.timing_cache);
    const size_t known = cache.size();
    const TuneOptions tune_options = {model_options_.thread_count(), profiles_,
                                      [](size_t, size_t) { check_interrupted(); }};
    CompiledModel best = tuned(std::move(compiled), model_options_.compile_options(), tune_options, cache);
    const size_t timed = cache.size() - known;
    log_.verbose(fmt::format("{} kernels timed, {} times from the cache", timed, known));
    if (timed > 0 && options_.timing_cache_must_hit)
      fail(ErrorCode::not_found, "the timing cache lacks the times of {} steps", timed);
    if (timed > 0 && !options_.timing_cache.empty()) cache.save(options_.timing_cache);
    return best;
  }

  void save(const CompiledModel& compiled) {
    PlanWriteOptions write_options;
    write_options.model = std::filesystem::path(options_.onnx).filename().string();
    write_options.profiles = profiles_;
    write_options.threads = profiles_.empty() ? 0 : model_options_.thread_count();
    write_options.progress = [](uint64_t, uint64_t) { check_interrupted(); };
    const PlanSize size = write_plan(options_.save_engine, compiled, write_options);
    log_.info(fmt::format("Created engine with size: {:.6g} MiB", static_cast<double>(size.file_bytes) / (1 << 20)));
  }

  void say_device() const {
    log_.info("=== Device Information ===");
    log_.info(fmt::format("Selected Device: {} ({})", model_options_.device, engine_->impl().model.backend->target()));
    for (const ProgramStep& step : engine_->impl().model.program.steps) {
      const std::string why = step.reason.empty() ? "" : ", not " + step.reason;
      log_.verbose(fmt::format("{}: {}{}{}", step_name(engine_->impl().model.program, step), step.kernel,
                               step.fallback ? " as a fallback" : "", why));
    }
  }

  void show_layers() const {
    if (options_.dump_profiles)
      for (size_t i = 0; i < profiles_.size(); ++i)
        for (const auto& [name, range] : profiles_[i])
          log_.info(fmt::format("Profile {}: {}: min {}, opt {}, max {}", i, name, format_dims(range.min),
                                format_dims(range.opt), format_dims(range.max)));
    if (options_.dump_layers) log_.info(layer_lines(*engine_, options_.detailed));
    if (!options_.export_layers.empty())
      write_json(options_.export_layers, layers_json(*engine_, profiles_, options_.detailed));
  }

  // What was given; else what --batch leaves open; else the usual sizes of the profile.
  ChosenSizes choose_run_sizes(const Graph& graph) const {
    std::set<std::string> first;
    for (const Value* input : graph.inputs())
      if (options_.batch > 0 && !input->shape().empty() && input->shape().front().is_symbol())
        first.insert(input->shape().front().to_string());
    std::vector<DimArg> dims;
    for (const std::string& symbol : first) dims.push_back({symbol, options_.batch});
    Sizes given;
    if (options_.shapes.empty() && options_.use_profile < profiles_.size())
      given = usual_sizes(profiles_[options_.use_profile]);
    if (options_.use_profile > 0 && options_.use_profile >= profiles_.size())
      fail(ErrorCode::invalid_argument, "there is no profile {}, there are {}", options_.use_profile, profiles_.size());
    return choose_sizes(graph, given, options_.shapes, dims);
  }

  // What trtexec knows: dense tensors of numbers.
  void check_values() const {
    for (const auto* infos : {&engine_->inputs(), &engine_->outputs()})
      for (const TensorInfo& info : *infos)
        if (info.kind != ValueKind::tensor || info.optional || info.dtype == DType::string)
          throw Error(ErrorCode::unsupported, fmt::format("'{}' is no tensor of numbers", info.name))
              .remedy("Use `lathe bench`");
  }

  Tensors make_run_inputs() const {
    check_values();
    const Graph& graph = *engine_->impl().model.graph;
    const ChosenSizes sizes = choose_run_sizes(graph);
    if (!sizes.assumed.empty())
      log_.warning(fmt::format("Dynamic dimensions without --shapes; assuming {}", to_string(sizes.assumed)));
    std::vector<ShapeArg> shapes;
    for (const auto& [name, dims] : sizes.inputs) shapes.push_back({name, dims});
    std::vector<InputFile> files;
    for (const auto& [name, file] : options_.inputs) files.push_back({name, file});
    Tensors tensors = load_inputs(graph, files, shapes);
    for (const Value* input : graph.inputs()) {
      const std::vector<int64_t>& dims = sizes.inputs.at(input->name());
      if (!tensors.contains(input->name())) tensors.emplace(input->name(), random_input(*input, dims, sizes.inputs, 0));
      log_.info(fmt::format("Created input binding for {} with dimensions {}", input->name(), format_dims(dims)));
    }
    return tensors;
  }

  nlohmann::json infer() {
    const Tensors inputs = make_run_inputs();
    {
      Session session(engine_, model_options_.session_options());
      const Tensors outputs = run_once(session, inputs);
      for (const auto& [name, tensor] : outputs)
        log_.info(fmt::format("Created output binding for {} with dimensions {}", name, format_dims(tensor.dims())));
      show_outputs(inputs, outputs);
    }
    log_.info("Starting inference");
    BenchmarkOptions benchmark;
    benchmark.session = model_options_.session_options();
    benchmark.streams = options_.streams;
    benchmark.warmup_ms = options_.warmup_ms;
    benchmark.seconds = options_.seconds;
    benchmark.iterations = options_.iterations;
    benchmark.idle_ms = options_.idle_ms;
    benchmark.transfers = options_.transfers;
    const Measurement measured = measure(engine_, inputs, benchmark);
    log_.info(performance_lines(measured, options_));
    if (!engine_->impl().model.backend->host_memory())
      for (const std::string& warning : performance_warnings(measured)) log_.warning(warning);
    for (const std::string& line : explanation_lines()) log_.verbose(line);
    if (!options_.export_times.empty()) write_json(options_.export_times, times_json(measured));
    if (options_.dump_profile || !options_.export_profile.empty()) profile(inputs);
    return {{"latency_ms", to_json(measured.latency_ms)}, {"runs_per_second", measured.runs_per_second}};
  }

  void show_outputs(const Tensors& inputs, const Tensors& outputs) const {
    if (options_.dump_output) {
      log_.info("Output Tensors:");
      log_.info(tensor_lines(outputs));
    }
    if (!options_.export_output.empty()) write_json(options_.export_output, tensors_json(outputs));
    if (!options_.dump_raw) return;
    for (const auto& [direction, tensors] : {std::pair{"input", &inputs}, std::pair{"output", &outputs}})
      for (const auto& [name, tensor] : *tensors) {
        FileWriter file(raw_file_name(name, direction, tensor));
        file.write(tensor.bytes());
        file.commit();
      }
  }

  void profile(const Tensors& inputs) {
    Session session(engine_, model_options_.session_options());
    const Stopwatch watch;
    step_times(session, inputs, 1);
    const double run_seconds = watch.seconds() / 3;  // two more warm the session up
    const auto runs = std::clamp<int64_t>(static_cast<int64_t>(kProfileSeconds / run_seconds), 5, 10000);
    std::vector<std::vector<double>> times = step_times(session, inputs, runs);
    const Program& program = engine_->impl().model.program;
    std::vector<LayerTimes> layers;
    for (size_t i = 0; i < times.size(); ++i)
      layers.push_back({step_name(program, program.steps[i]), std::move(times[i])});
    if (options_.dump_profile) log_.info(profile_lines(layers));
    if (!options_.export_profile.empty()) write_json(options_.export_profile, profile_json(layers));
  }

  const TrtexecOptions& options_;
  const TrtexecLog& log_;
  Console& console_;
  ModelOptions model_options_;
  std::vector<Profile> profiles_;
  std::shared_ptr<const Engine> engine_;
};

class TrtexecCommand : public Command {
 public:
  CommandInfo info() const override {
    return {
        "trtexec",
        "Run and check",
        "Build and measure with trtexec's flags, reporting in trtexec's form",
        "Takes the flags of trtexec 8 to 11. Runs on GPU 0 if it can be used, else on the CPU, which is said. Flags "
        "that mean nothing here are accepted, each with a line that says why; unknown ones are errors. A link named "
        "trtexec to this program is the same command.",
        {{"trtexec --onnx=bert.onnx --shapes=input_ids:8x128 --saveEngine=bert.plan", "build, tune for 8x128, measure"},
         {"trtexec --loadEngine=bert.plan --shapes=input_ids:8x128 --dumpProfile", "where the time goes"},
         {"trtexec --onnx=bert.onnx --minShapes=*:1x8 --optShapes=*:1x128 --maxShapes=*:8x512 --skipInference "
          "--saveEngine=bert.plan",
          "one profile"}}};
  }

  void add_options(CLI::App& app) override {
    app_ = &app;
    values_.resize(trtexec_flags().size());
    for (size_t i = 0; i < values_.size(); ++i) {
      const TrtexecFlag& flag = trtexec_flags()[i];
      const std::string name = "--" + std::string(flag.name);
      CLI::Option* option = flag.value.empty() ? app.add_flag(name, values_[i], std::string(flag.help))
                                               : app.add_option(name, values_[i], std::string(flag.help))
                                                     ->type_name(std::string(flag.value))
                                                     ->allow_extra_args(false);
      option->group(std::string(flag.group));
      index_[option] = i;
    }
  }

  int run(Console& console) override {
    TrtexecOptions options;
    std::string call = "trtexec";
    std::vector<std::string> remarks;
    read_flags(options, call, remarks);
    const TrtexecLog log(console, options.verbose);
    const std::string title = fmt::format("TensorRT.trtexec [Lathe v{}] # {}", build_info().version, call);
    console.print("&&&& RUNNING {}\n", title);
    for (const std::string& remark : remarks) log.info(remark);
    try {
      console.result(Job(options, log, console).run());
    } catch (...) {
      console.print("&&&& FAILED {}\n", title);
      throw;
    }
    console.print("&&&& PASSED {}\n", title);
    return kExitOk;
  }

 private:
  // In the order of the command line, on which --profile depends.
  void read_flags(TrtexecOptions& options, std::string& call, std::vector<std::string>& remarks) const {
    std::map<const CLI::Option*, size_t> seen;
    for (const CLI::Option* option : app_->parse_order()) {
      const auto found = index_.find(option);
      if (found == index_.end()) continue;
      const TrtexecFlag& flag = trtexec_flags()[found->second];
      const std::string value = flag.value.empty() ? "" : values_[found->second].at(seen[option]++);
      call += fmt::format(" --{}{}{}", flag.name, value.empty() ? "" : "=", value);
      if (flag.set != nullptr)
        set(flag, value, options);
      else
        remarks.push_back(fmt::format("--{} has no effect: {}", flag.name, flag.help));
    }
  }

  static void set(const TrtexecFlag& flag, std::string_view value, TrtexecOptions& options) try {
    flag.set(options, value);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("--{}: {}", flag.name, error.message())).remedy(error.remedy_text());
  }

  CLI::App* app_ = nullptr;
  std::vector<std::vector<std::string>> values_;  // by flag, as given
  std::map<const CLI::Option*, size_t> index_;
};

}  // namespace

std::unique_ptr<Command> make_trtexec_command() { return std::make_unique<TrtexecCommand>(); }

}  // namespace lathe::tools
