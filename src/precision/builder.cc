// The public way to build a plan: import, types, kernels, plan file.
#include "lathe/builder.h"

#include <filesystem>

#include "base/error.h"
#include "build/plan_writer.h"
#include "build/tuner.h"
#include "precision/assign.h"
#include "runtime/engine.h"
#include "runtime/model_import.h"
#include "runtime/session.h"

namespace lathe {
namespace {

precision::Batches batches_of(const Graph& graph, Calibrator& calibrator) {
  precision::Batches batches;
  for (auto inputs = calibrator.next(); !inputs.empty(); inputs = calibrator.next()) {
    precision::Batch& batch = batches.emplace_back();
    for (const Input& input : inputs) {
      Tensor tensor(input.dtype, input.dims);
      if (input.count >= 0 && input.count != tensor.elements())
        fail(ErrorCode::invalid_argument, "calibration input '{}' has {} elements, its sizes say {}", input.name,
             input.count, tensor.elements());
      const auto bytes = tensor.mutable_bytes();
      std::copy_n(static_cast<const std::byte*>(input.data), bytes.size(), bytes.data());
      batch.emplace(std::string(input.name), std::move(tensor));
    }
    for (const Value* value : graph.inputs())
      if (batch.count(value->name()) == 0)
        fail(ErrorCode::invalid_argument, "batch {} of the calibrator lacks the input '{}'", batches.size(),
             value->name());
  }
  if (batches.empty()) fail(ErrorCode::invalid_argument, "the calibrator gave no batch");
  return batches;
}

precision::Report assign_types(Graph& graph, const CompileOptions& compile, const BuildOptions& options) {
  if (options.calibrator == nullptr)
    fail(ErrorCode::invalid_argument, "narrower types need a calibrator, to measure what they cost");
  precision::PrecisionOptions types;
  if (options.int8) types.types.push_back(DType::i8);
  if (options.fp8) types.types.push_back(DType::f8e4m3);
  if (options.fp16) types.types.push_back(DType::f16);
  if (options.bf16) types.types.push_back(DType::bf16);
  types.fastest = options.best;
  if (options.best) types.types.clear();
  for (const auto& [pattern, type] : options.layer_types) types.rules.push_back({pattern, type});
  types.min_cosine = options.accuracy;
  if (options.max_error > 0) types.max_error = options.max_error;
  types.min_top1 = options.top1;
  if (!options.calibration.empty()) {
    types.calibrator = precision::calibrator_from_string(options.calibration);
    if (!types.calibrator) fail(ErrorCode::invalid_argument, "there is no calibrator '{}'", options.calibration);
  }
  types.range_cache = options.calibration_cache;
  types.threads = options.threads;
  return precision::assign(graph, compile, batches_of(graph, *options.calibrator), types);
}

std::vector<Profile> profiles_of(const BuildOptions& options) {
  if (options.profile.empty()) return {};
  Profile profile;
  for (const auto& [name, sizes] : options.profile) profile[name] = {sizes.smallest, sizes.usual, sizes.largest};
  return {std::move(profile)};
}

}  // namespace

BuildResult build_plan(const std::string& model, const std::string& plan, const BuildOptions& options) {
  CompileOptions compile_options = to_compile_options(options);
  BuildResult result;
  if (options.fp16 || options.bf16 || options.fp8 || options.int8 || options.best || !options.layer_types.empty())
    compile_options.after_passes = [&](Graph& graph) {
      const precision::Report report = assign_types(graph, compile_options, options);
      result.met = report.met;
      const precision::Agreement worst = precision::worst(report.outputs);
      result.cosine = worst.cosine;
      result.max_error = worst.max_error;
      result.top1 = worst.top1;
      for (const precision::LayerReport& layer : report.layers)
        if (!(layer.type == layer.wanted)) result.pinned.push_back({layer.name, layer.reason});
    };
  CompiledModel compiled = compile(import_graph(model), compile_options);
  if (!result.met) return result;
  PlanWriteOptions write_options;
  write_options.model = std::filesystem::path(model).filename().string();
  write_options.profiles = profiles_of(options);
  if (!write_options.profiles.empty()) {
    write_options.threads = options.threads > 0 ? options.threads : default_thread_count();
    TimingCache cache;
    compiled = tuned(std::move(compiled), compile_options, {write_options.threads, write_options.profiles, {}}, cache);
  }
  result.plan_bytes = static_cast<int64_t>(write_plan(plan, compiled, write_options).file_bytes);
  return result;
}

}  // namespace lathe
