// Small things that running graphs over batches takes.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "build/compiler.h"
#include "graph/graph.h"
#include "lathe/lathe.h"
#include "precision/batches.h"
#include "runtime/engine.h"
#include "runtime/session.h"

namespace lathe::precision {

struct RunOptions {
  CompileOptions compile = {};
  int threads = 0;               // 0: one per physical core
  bool passing_weights = false;  // weights are in memory for the length of a step (runtime/passing_weights.h)
  std::function<double(size_t weight_bytes)> run_ms = {};  // PrecisionOptions::run_ms
  StepObserver* observer = nullptr;                        // PrecisionOptions::observer
};

// Of an optimised graph.
inline std::shared_ptr<const Engine> engine_of(std::unique_ptr<Graph> graph, const RunOptions& options) {
  return make_engine(compile_optimised(std::move(graph), options.compile), {.passing = options.passing_weights});
}

inline Session session_of(std::shared_ptr<const Engine> engine, const RunOptions& options) {
  Session session(std::move(engine), {.threads = options.threads});
  session.impl().observer = options.observer;
  return session;
}

inline std::span<const Output> run(Session& session, const Batch& batch) {
  std::vector<Input> inputs;
  for (const auto& [name, tensor] : batch)
    inputs.emplace_back(name, tensor.dtype(), tensor.dims(), tensor.bytes().data());
  return session.run(inputs);
}

inline std::vector<Node*> nodes_of(const Graph& graph) {
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) nodes.push_back(node.get());
  return nodes;
}

}  // namespace lathe::precision
