// From an imported graph to something that runs: common passes, the device's own rewrites, lowering. The result still
// has its weights where the import or a plan left them; runtime/weight_memory.h or the plan writer brings them into the
// layouts that the steps want.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/cpu_features.h"
#include "build/profile.h"
#include "build/program.h"
#include "build/weight_source.h"
#include "passes/pipeline.h"

namespace lathe {

struct BackendOptions {
  std::string device = "cpu";                // "cpu", "cuda", "cuda:1", "reference"
  std::optional<Isa> isa = {};               // of the CPU kernels; the machine's best when absent
  std::filesystem::path kernel_cache = {};   // folder for kernels compiled for a GPU; empty: they are not kept
  bool tf32 = false;                         // on a GPU, products of f32 may round their operands to TF32
  std::span<const std::byte> compiled = {};  // Backend::compiled_code() of before; outlives the backend
  // What is computed of a row of a product, or of a token of a sequence, does not depend in any bit on what else is
  // computed in the same run. Slower: one kernel must serve all sizes.
  bool uniform_rows = false;
};

struct CompileOptions : BackendOptions {
  bool optimise = true;  // false: lower the graph as imported
  passes::PassOptions passes;
  // Called on the optimised graph, before it is lowered: where precision is assigned (src/precision/).
  std::function<void(Graph&)> after_passes;
};

struct CompiledModel {
  std::unique_ptr<Graph> graph;
  std::unique_ptr<Backend> backend;
  // Serve the nodes for which the backend has no kernel, in this order; the reference backend comes last.
  std::vector<std::unique_ptr<Backend>> fallbacks;
  Program program;
  WeightSource weights;  // of a graph that comes from a plan
  std::vector<passes::PassReport> passes;
};

// Throws Error(invalid_argument) for an unknown device or an ISA that this machine lacks.
std::unique_ptr<Backend> make_backend(const BackendOptions& options);
// The number of the GPU that "cuda" or "cuda:1" names; nullopt for other devices.
std::optional<int> cuda_ordinal(std::string_view device);
// Of a device that need not be there. Throws Error(invalid_argument) for an unknown one.
std::unique_ptr<WeightPacker> make_weight_packer(const std::string& device);

CompiledModel compile(std::unique_ptr<Graph> graph, const CompileOptions& options);
// For a graph that has been through the passes.
CompiledModel compile_optimised(std::unique_ptr<Graph> graph, const CompileOptions& options);
// For a graph that has been through compile() before: lowering only.
CompiledModel relower(std::unique_ptr<Graph> graph, const CompileOptions& options, const KernelChoices& choices);

}  // namespace lathe
