#include "build/compiler.h"

#include <charconv>

#include "backends/cpu/cpu_backend.h"
#include "backends/cuda/cuda_backend.h"
#include "backends/reference/reference_backend.h"
#include "base/error.h"
#include "graph/verifier.h"

namespace lathe {
namespace {

std::vector<std::unique_ptr<Backend>> make_fallbacks(const Backend& backend, std::optional<Isa> isa) {
  std::vector<std::unique_ptr<Backend>> fallbacks;
  if (backend.name() == "cuda") fallbacks.push_back(make_backend({.isa = isa}));
  if (backend.name() != "reference") fallbacks.push_back(make_reference_backend());
  return fallbacks;
}

CompiledModel lower_model(std::unique_ptr<Graph> graph, std::unique_ptr<Backend> backend, const CompileOptions& options,
                          const KernelChoices& choices) {
  CompiledModel model;
  model.graph = std::move(graph);
  model.backend = std::move(backend);
  model.fallbacks = make_fallbacks(*model.backend, options.isa);
  model.program = lower(*model.graph, *model.backend, model.fallbacks, choices);
  return model;
}

}  // namespace

std::optional<int> cuda_ordinal(std::string_view device) {
  constexpr std::string_view kName = "cuda";
  if (device == kName) return 0;
  if (!device.starts_with("cuda:")) return std::nullopt;
  const std::string_view digits = device.substr(kName.size() + 1);
  int ordinal = -1;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), ordinal);
  if (error != std::errc() || end != digits.end()) return std::nullopt;
  return ordinal;
}

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  if (options.device == "reference") return make_reference_backend();
  if (const std::optional<int> ordinal = cuda_ordinal(options.device))
    return cuda::make_cuda_backend({.ordinal = *ordinal,
                                    .kernel_cache = options.kernel_cache,
                                    .uniform_rows = options.uniform_rows,
                                    .tf32 = options.tf32,
                                    .compiled = options.compiled});
  if (options.device != "cpu")
    throw Error(ErrorCode::invalid_argument, fmt::format("unknown device '{}'", options.device))
        .remedy("Known devices: cpu, cuda, cuda:N, reference");
  const Isa best = detect_cpu_features().best_isa;
  if (options.isa && *options.isa > best)
    fail(ErrorCode::invalid_argument, "this machine has no {} instructions; its best is {}", to_string(*options.isa),
         to_string(best));
  return cpu::make_cpu_backend(options.isa.value_or(best), options.uniform_rows);
}

std::unique_ptr<WeightPacker> make_weight_packer(const std::string& device) {
  if (cuda_ordinal(device)) return cuda::make_weight_packer();
  return make_backend({.device = device});
}

CompiledModel compile(std::unique_ptr<Graph> graph, const CompileOptions& options) {
  std::vector<passes::PassReport> reports;
  if (options.optimise) reports = passes::run_pipeline(*graph, options.passes);
  if (options.after_passes) options.after_passes(*graph);
  if (!options.optimise) return relower(std::move(graph), options, {});
  CompiledModel model = compile_optimised(std::move(graph), options);
  model.passes = std::move(reports);
  return model;
}

CompiledModel compile_optimised(std::unique_ptr<Graph> graph, const CompileOptions& options) {
  std::unique_ptr<Backend> backend = make_backend(options);
  backend->legalize(*graph);
  verify(*graph);
  return lower_model(std::move(graph), std::move(backend), options, {});
}

CompiledModel relower(std::unique_ptr<Graph> graph, const CompileOptions& options, const KernelChoices& choices) {
  return lower_model(std::move(graph), make_backend(options), options, choices);
}

}  // namespace lathe
