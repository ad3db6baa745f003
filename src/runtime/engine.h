// What an Engine is inside: a compiled model, its weights in place, and whatever keeps them alive. The tools use it
// directly to look into programs; applications use lathe/lathe.h.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "build/compiler.h"
#include "lathe/lathe.h"
#include "runtime/plan_reader.h"
#include "runtime/weight_memory.h"

namespace lathe {

struct Engine::Impl {
  // Sessions whose runs need the weights on the device count themselves, from any thread. The weights leave the device
  // when the last of them is evicted.
  void begin_use();
  void end_use(bool evict);

  CompiledModel model;
  std::shared_ptr<const Plan> plan;    // null when built in memory
  std::shared_ptr<const Engine> twin;  // whose weights serve this one as well, where they are the same; may be null
  WeightMemory weights;
  std::vector<TensorInfo> inputs, outputs;

 private:
  std::mutex mutex_;
  size_t users_ = 0;
};

// Throws Error(invalid_argument) for an unknown instruction set.
CompileOptions to_compile_options(const EngineOptions& options);

// The model of a plan, lowered for this machine with the kernels that the plan has chosen; where it was made for a
// device of another kind, rewritten for this one. Takes the plan's graph; what is returned may view the plan's bytes.
CompiledModel lower_plan(const std::shared_ptr<Plan>& plan, const CompileOptions& options);

// Opens a model (import_graph(), compiled with `options`) or a .plan file; which one it is shows in its first bytes,
// not in its name.
std::shared_ptr<const Engine> open_engine(const std::filesystem::path& path, const CompileOptions& options);

// Where the weights of an engine may be, as WeightMemory has it; one of these at a time.
struct WeightOptions {
  size_t budget = 0;
  bool passing = false;
  // On the same device: constants that share storage with its own are in memory once.
  std::shared_ptr<const Engine> twin = {};
};
// From a graph in memory.
std::shared_ptr<const Engine> make_engine(CompiledModel model, const WeightOptions& weights = {});

}  // namespace lathe
