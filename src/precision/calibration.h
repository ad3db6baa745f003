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

// Of the named values of the graph, empty for those that no batch reaches. Throws Error(invalid_argument) when one of
// them is not finite anywhere.
std::map<std::string, Histogram> histograms(const Graph& graph, const RunOptions& options, const Batches& batches,
                                            const std::vector<std::string>& values);

// The largest magnitudes by index of the last axis, found where the graph runs. Throws likewise.
using ColumnMaxima = std::map<std::string, std::vector<float>>;  // by value
ColumnMaxima column_maxima(const Graph& graph, const RunOptions& options, const Batches& batches,
                           const std::vector<std::string>& values);

// The values whose ranges the layers need.
std::vector<std::string> quantized_values(const Graph& graph, const std::vector<Layer>& layers,
                                          const PrecisionSupport& support, bool static_activations);

}  // namespace lathe::precision
