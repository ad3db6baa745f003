// Measures a model: how long a run takes, how many fit into a second, what each step costs.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "graph/cost.h"
#include "runtime/session.h"
#include "tools/random_inputs.h"
#include "tools/statistics.h"

namespace lathe::tools {

struct BenchmarkOptions {
  int threads = 1;         // of each session
  int streams = 1;         // sessions that run at the same time
  double warmup_ms = 200;  // before anything counts; at least two runs
  double seconds = 3;      // per stream; ignored when iterations are given
  int64_t iterations = 0;  // per stream
};

struct Measurement {
  Summary latency_ms;          // of single runs, all streams together
  double seconds = 0;          // wall clock from the first run to the last
  double runs_per_second = 0;  // all streams together
};

// Ctrl-C ends the measurement with Error(cancelled).
Measurement measure(const std::shared_ptr<const Engine>& engine, const Tensors& inputs,
                    const BenchmarkOptions& options);

// What each step of the program costs with the sizes of these inputs, seen in one run.
std::vector<Cost> step_costs(Session& session, const Tensors& inputs);
Cost total(std::span<const Cost> costs);

// Mean milliseconds of each step over `runs` runs, observed from outside the steps.
std::vector<double> step_times(Session& session, const Tensors& inputs, int64_t runs);

}  // namespace lathe::tools
