// Measures a model: how long a run takes and where the time goes, how many runs fit into a second, what each step
// costs.
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
  SessionOptions session;
  int streams = 1;         // sessions that run at the same time
  double warmup_ms = 200;  // before anything counts; at least two runs
  // Per stream: at least this long, and at least as many runs.
  double seconds = 3;
  int64_t iterations = 1;
  double idle_ms = 0;     // between runs
  bool transfers = true;  // false: inputs and outputs stay in memory of the device
};

// When the parts of a run happened, in milliseconds since the measurement began: on the host, queueing; on the device,
// inputs coming in, steps, outputs going out. Where the host is the device, queueing and copies take no time.
struct RunTrace {
  double enqueue_begin = 0, enqueue_end = 0;
  double upload_begin = 0, compute_begin = 0, download_begin = 0, download_end = 0;

  double enqueue() const { return enqueue_end - enqueue_begin; }
  double upload() const { return compute_begin - upload_begin; }
  double compute() const { return download_begin - compute_begin; }
  double download() const { return download_end - download_begin; }
  double latency() const { return download_end - upload_begin; }
};

struct Measurement {
  Summary latency_ms;           // of single runs as the host sees them, all streams together
  double seconds = 0;           // wall clock from the first run to the last
  double runs_per_second = 0;   // all streams together
  size_t warmup_runs = 0;       // likewise
  std::vector<RunTrace> trace;  // likewise, in the order of their beginnings
};

// Ctrl-C ends the measurement with Error(cancelled).
Measurement measure(const std::shared_ptr<const Engine>& engine, const Tensors& inputs,
                    const BenchmarkOptions& options);

// What each step of the program costs with the sizes of these inputs, seen in one run.
std::vector<Cost> step_costs(Session& session, const Tensors& inputs);
Cost total(std::span<const Cost> costs);
// Operands or results of a step, as cost_of() takes them.
std::vector<SizedType> sized_types(std::span<const TensorRef> refs);

// Milliseconds of each step in each of `runs` runs, by step, on the device's own clock.
std::vector<std::vector<double>> step_times(Session& session, const Tensors& inputs, int64_t runs);

}  // namespace lathe::tools
