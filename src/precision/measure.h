// Measures what an assignment costs in accuracy and gains in time, against the f32 graph on the same device.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lathe/lathe.h"
#include "precision/apply.h"
#include "precision/batches.h"
#include "precision/run.h"

namespace lathe::precision {

// How far values are from their f32 counterparts, over all batches.
struct Agreement {
  double cosine = 1;
  double max_error = 0;    // largest absolute difference
  bool finite = true;      // false: a NaN or an infinity where f32 has a number
  bool collapsed = false;  // one class for all rows where f32 tells several apart
  size_t resized = 0;      // runs in which an output's sizes differ, so that nothing could be compared
  double top1 = 1;         // share of the rows [.., classes] of rank 2 and 3 whose largest element is the same
};

struct OutputAgreement {
  std::string output;
  Agreement agreement;
};

Agreement worst(std::span<const OutputAgreement> outputs);

// The outputs of a model on all batches, by batch and output.
using Recorded = std::vector<std::vector<Tensor>>;
Recorded record(const std::shared_ptr<const Engine>& engine, const Batches& batches, const RunOptions& options);
std::vector<OutputAgreement> compare(const Recorded& expected, const std::shared_ptr<const Engine>& engine,
                                     const Batches& batches, const RunOptions& options);

struct Speed {
  double ms = 0;  // median of a run on the first batch; where weights pass, what the steps of one run take
  size_t weight_bytes = 0;
};

class Measurer {
 public:
  // Runs the f32 graph once over the batches and keeps its outputs. Throws Error(invalid_argument) when they say
  // nothing: not a number, or zero everywhere. Only one engine is in memory at a time.
  Measurer(const Graph& graph, const RunOptions& options, const Batches& batches);

  struct Candidate {
    size_t node = 0;  // place in the graph's list
    LayerType type;
  };
  // What each layer loses by itself, all others in f32: one run of a graph that holds every layer twice.
  std::vector<Agreement> probe(const std::vector<Candidate>& layers, const ApplyOptions& apply);

  std::vector<OutputAgreement> measure(const Assignment& assignment, const ApplyOptions& apply);

  const Speed& reference_speed() const { return reference_speed_; }
  Speed speed(const Assignment& assignment, const ApplyOptions& apply);
  Speed speed(const Assignment& assignment, const ApplyOptions& apply, const Batch& inputs);

  // Nothing is measured any more: makes room.
  ConvertedWeights& take_weights() {
    last_.reset();
    return weights_;
  }

 private:
  std::shared_ptr<const Engine> engine_for(const Assignment& assignment, const ApplyOptions& apply);
  Speed speed_of(const std::shared_ptr<const Engine>& engine, const Batch& inputs) const;

  const Graph& graph_;
  const RunOptions& options_;
  const Batches& batches_;
  Speed reference_speed_;
  Recorded expected_;
  ConvertedWeights weights_;
  std::shared_ptr<const Engine> last_;  // of the assignment that was asked for last
  Assignment last_assignment_;
};

// The graph in the types of the assignment, ready for compile_optimised().
void apply_and_rewrite(Graph& graph, const Assignment& assignment, const ApplyOptions& apply,
                       ConvertedWeights& weights);

}  // namespace lathe::precision
