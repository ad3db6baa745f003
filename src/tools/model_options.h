// The options that commands share: how a model or plan is opened, and what it is fed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "runtime/engine.h"
#include "runtime/session.h"
#include "tools/console.h"
#include "tools/random_inputs.h"

namespace CLI {  // NOLINT(readability-identifier-naming): as the library spells it
class App;
class Option;
}  // namespace CLI

namespace lathe::tools {

// Where the user keeps compiled kernels, which can be made again; empty when there is no such place.
std::filesystem::path kernel_cache_folder();

struct ModelOptions {
  std::string device = "cpu";
  std::string isa;
  int threads = 0;  // 0: one per physical core
  bool tf32 = false, graphs = true;
  std::string packing = "auto";
  std::vector<std::string> disabled_passes;

  // The reference device evaluates models as they were imported: it is there to check the optimiser, too.
  CompileOptions compile_options() const;
  SessionOptions session_options() const { return {threads, graphs}; }
  int thread_count() const { return threads > 0 ? threads : default_thread_count(); }
};

// --device, --isa, --threads, --tf32, --capture-graph, --no-graph, --packing, --disable-pass.
void add_model_options(CLI::App& app, ModelOptions& options);
// The name and values of one --device option more, for commands that open two models.
CLI::Option* add_device_option(CLI::App& app, const std::string& name, std::string& device, const std::string& text);

// Shows what is going on while a model is imported and optimised, and stops at Ctrl-C.
std::shared_ptr<const Engine> open_model(const std::filesystem::path& path, const ModelOptions& options,
                                         Console& console);

struct InputOptions {
  std::vector<std::string> files, shapes, dims;
  uint64_t seed = 0;
  std::string lengths = "full";
  Lengths made_up_lengths() const { return lengths == "half" ? Lengths::half : Lengths::full; }
};

// --shape, --dim, --seed, --lengths, and --input if `with_files`.
void add_input_options(CLI::App& app, InputOptions& options, bool with_files);

struct ModelInputs {
  Tensors tensors;
  ChosenSizes sizes;
};

// Loads what is given, makes up the rest, and says on stderr which sizes were assumed. `known` are inputs that are
// there already.
ModelInputs make_inputs(const Graph& graph, const InputOptions& options, Console& console, Tensors known = {});
// Sizes alone, without data.
ChosenSizes choose_sizes(const Graph& graph, const InputOptions& options);

// Ends a run at Ctrl-C, between two steps.
StepObserver& stop_at_interrupt();
// Runs once and copies the outputs, which Ctrl-C ends.
Tensors run_once(Session& session, const Tensors& inputs);

}  // namespace lathe::tools
