#include "build/compiler.h"

#include "backends/cpu/cpu_backend.h"
#include "backends/reference/reference_backend.h"
#include "base/error.h"
#include "graph/verifier.h"

namespace lathe {

std::unique_ptr<Backend> make_backend(const std::string& device, std::optional<Isa> isa) {
  if (device == "reference") return make_reference_backend();
  if (device != "cpu")
    throw Error(ErrorCode::invalid_argument, fmt::format("unknown device '{}'", device))
        .remedy("Known devices: cpu, reference");
  const Isa best = detect_cpu_features().best_isa;
  if (isa && *isa > best)
    fail(ErrorCode::invalid_argument, "this machine has no {} instructions; its best is {}", to_string(*isa),
         to_string(best));
  return cpu::make_cpu_backend(isa.value_or(best));
}

CompiledModel compile(std::unique_ptr<Graph> graph, const CompileOptions& options) {
  std::vector<passes::PassReport> reports;
  std::unique_ptr<Backend> backend = make_backend(options.device, options.isa);
  if (options.optimise) {
    reports = passes::run_pipeline(*graph, options.passes);
    backend->legalize(*graph);
    verify(*graph);
  }
  CompiledModel model = relower(std::move(graph), options, {});
  model.passes = std::move(reports);
  return model;
}

CompiledModel relower(std::unique_ptr<Graph> graph, const CompileOptions& options, const KernelChoices& choices) {
  CompiledModel model;
  model.graph = std::move(graph);
  model.backend = make_backend(options.device, options.isa);
  model.fallback = make_reference_backend();
  model.program = lower(*model.graph, *model.backend, *model.fallback, choices);
  return model;
}

}  // namespace lathe
