// Runs the f32 graph over the batches and collects what quantisation needs to know of its values.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "precision/batches.h"
#include "precision/histogram.h"
#include "precision/run.h"

namespace lathe::precision {

struct ValueStatistics {
  Histogram histogram;
  std::vector<float> column_max;  // largest magnitude by index of the last axis
};
using Statistics = std::map<std::string, ValueStatistics>;  // by value

// Of the named values of the graph. Throws Error(invalid_argument) when one of them is not finite anywhere.
Statistics collect(const Graph& graph, const RunOptions& options, const Batches& batches,
                   const std::vector<std::string>& values);

// The values whose ranges the layers need.
std::vector<std::string> quantized_values(const Graph& graph, const std::vector<Layer>& layers,
                                          const PrecisionSupport& support, bool static_activations);

}  // namespace lathe::precision
