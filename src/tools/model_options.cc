#include "tools/model_options.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "tools/interrupt.h"
#include "tools/named_values.h"
#include "tools/progress.h"
#include "tools/tensor_files.h"

namespace lathe::tools {
namespace {

class StopAtInterrupt : public StepObserver {
 public:
  void before(size_t) override { check_interrupted(); }
  void after(size_t, const StepIo&) override {}
};

std::vector<ShapeArg> parse_shapes(const InputOptions& options) {
  std::vector<ShapeArg> shapes;
  for (const std::string& text : options.shapes) shapes.push_back(parse_shape_arg(text));
  return shapes;
}

std::vector<DimArg> parse_dims(const InputOptions& options) {
  std::vector<DimArg> dims;
  for (const std::string& text : options.dims) dims.push_back(parse_dim_arg(text));
  return dims;
}

// The tensor that tells the sizes of an input, or the first of a sequence; null when none is there.
const Tensor* given_tensor(const Value& input, const Tensors& tensors) {
  const auto found = tensors.find(is_sequence(input.type()) ? element_name(input.name(), 0) : input.name());
  return found == tensors.end() ? nullptr : &found->second;
}

// Makes up what is not given: a sequence of two tensors, an optional that is nothing.
void make_up(const Value& input, ModelInputs& inputs, const InputOptions& options) {
  constexpr size_t kElements = 2;
  const std::string& name = input.name();
  const bool sequence = is_sequence(input.type());
  if (is_optional(input.type()) ||
      (sequence ? length_of(name, inputs.tensors).has_value() : inputs.tensors.contains(name)))
    return;
  if (!input.type().ranked)  // sizes of tensors are chosen already
    throw Error(ErrorCode::unsupported,
                fmt::format("input '{}' is {}; its data cannot be made up", name, lathe::to_string(input.type())))
        .remedy(fmt::format("Give it with --input {}=FILE, or FILE.json alone", element_name(name, 0)));
  for (size_t i = 0; i < (sequence ? kElements : 1); ++i)
    inputs.tensors.emplace(sequence ? element_name(name, i) : name,
                           random_input(input, inputs.sizes.inputs.at(name), inputs.sizes.inputs, options.seed + i,
                                        options.made_up_lengths()));
}

}  // namespace

std::filesystem::path kernel_cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0')
    return std::filesystem::path(cache) / "lathe" / "kernels";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return std::filesystem::path(home) / ".cache" / "lathe" / "kernels";
  return {};
}

CompileOptions ModelOptions::compile_options() const {
  EngineOptions engine;
  engine.device = device;
  engine.isa = isa;
  engine.kernel_cache = kernel_cache_folder().string();
  engine.tf32 = tf32;
  engine.packing = packing;
  CompileOptions compile = to_compile_options(engine);
  compile.optimise = device != "reference";
  compile.passes.disabled = disabled_passes;
  return compile;
}

CLI::Option* add_device_option(CLI::App& app, const std::string& name, std::string& device, const std::string& text) {
  return app.add_option(name, device, text)->type_name("cpu|cuda|cuda:N|reference");
}

void add_model_options(CLI::App& app, ModelOptions& options) {
  add_device_option(app, "--device", options.device, "Where to run; reference is slow and exact, for checking");
  app.add_option("--isa", options.isa, "Instruction set of the CPU kernels (default: the machine's best)")
      ->type_name("generic|avx2|avx512");
  app.add_option("--threads", options.threads, "Threads of a session (default: one per physical core)")
      ->type_name("N")
      ->check(CLI::Range(1, 1024).description(""));
  app.add_flag("--tf32", options.tf32, "On a GPU: products of f32 may round their operands to TF32");
  app.add_flag("--capture-graph,!--no-graph", options.graphs,
               "On a GPU: replay runs of the same sizes as CUDA graphs, or do not (default: replay)");
  app.add_option(
         "--packing", options.packing,
         "Leave out the padding of token batches: auto (default) where no output changes, on also where outputs "
         "show padding, which is 0 then; off")
      ->type_name("auto|on|off");
  app.add_option("--disable-pass", options.disabled_passes, "Leave out a rewrite by its name; repeatable")
      ->type_name("NAME")
      ->allow_extra_args(false);
}

void add_input_options(CLI::App& app, InputOptions& options, bool with_files) {
  if (with_files)
    app.add_option("--input", options.files,
                   "An input from NAME=FILE.npy, .npz, .json or .bin (raw), or all from FILE.npz or FILE.json; NAME.0, "
                   "NAME.1, .. "
                   "are tensors of a sequence; repeatable. Without it, made-up data is used")
        ->type_name("[NAME=]FILE")
        ->allow_extra_args(false);
  app.add_option("--shape", options.shapes, "Sizes of an input; NAME may hold one '*'; repeatable")
      ->type_name("NAME:2x64")
      ->allow_extra_args(false);
  app.add_option("--dim", options.dims, "Value of a named dimension of the inputs; repeatable")
      ->type_name("NAME=N")
      ->allow_extra_args(false);
  app.add_option("--seed", options.seed, "Seed of made-up data (default 0)")->type_name("N");
  app.add_option("--lengths", options.lengths,
                 "Lengths of sequences in made-up masks: full (default), or half on average, at random")
      ->type_name("full|half")
      ->check(CLI::IsMember({"full", "half"}).description(""));
}

std::shared_ptr<const Engine> open_model(const std::filesystem::path& path, const ModelOptions& options,
                                         Console& console) {
  Progress progress(console);
  CompileOptions compile = options.compile_options();
  compile.passes.trace = [&](const passes::PassReport& report, const Graph&) {
    check_interrupted();
    progress.show(fmt::format("{}: {} nodes after {}", path.filename().string(), report.nodes_after, report.name));
  };
  progress.show("opening " + path.string());
  auto engine = open_engine(path, compile);
  progress.clear();
  if (const auto& plan = engine->impl().plan;
      plan != nullptr && plan->info().target != engine->impl().model.backend->target())
    console.note("lathe: {} was made for {} ({}); lowered again for {} ({})", path.string(), plan->info().device,
                 plan->info().target, options.device, engine->impl().model.backend->target());
  return engine;
}

ChosenSizes choose_sizes(const Graph& graph, const InputOptions& options) {
  return choose_sizes(graph, {}, parse_shapes(options), parse_dims(options));
}

ModelInputs make_inputs(const Graph& graph, const InputOptions& options, Console& console, Tensors known) {
  const std::vector<ShapeArg> shapes = parse_shapes(options);
  std::vector<InputFile> files;
  for (const std::string& text : options.files) files.push_back(parse_input_arg(text));
  ModelInputs inputs{std::move(known), {}};
  for (auto& [name, tensor] : load_inputs(graph, files, shapes))
    inputs.tensors.insert_or_assign(name, std::move(tensor));

  Sizes given;
  for (const Value* input : graph.inputs())
    if (const Tensor* tensor = given_tensor(*input, inputs.tensors)) given[input->name()] = tensor->dims();
  inputs.sizes = choose_sizes(graph, given, shapes, parse_dims(options));
  if (!inputs.sizes.assumed.empty())
    console.note("lathe: assuming {} (--shape and --dim choose other sizes)", to_string(inputs.sizes.assumed));
  for (const Value* input : graph.inputs()) make_up(*input, inputs, options);
  return inputs;
}

StepObserver& stop_at_interrupt() {
  static StopAtInterrupt stop;
  return stop;
}

Tensors run_once(Session& session, const Tensors& inputs) {
  session.impl().observer = &stop_at_interrupt();
  Tensors outputs = to_tensors(session.run(as_inputs(session.engine(), inputs)));
  session.impl().observer = nullptr;
  return outputs;
}

}  // namespace lathe::tools
