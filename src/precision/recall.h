// What was measured before: the types that a search chose for a model's layers are kept in the timing cache, so that
// the same build need not search again, nor calibrate. The key covers whatever decides the outcome: the graph with its
// weights, the device, what is asked, the ranges that the calibration cache has, the inputs and the version of Lathe.
#pragma once

#include <optional>
#include <string>

#include "build/timing_cache.h"
#include "precision/assign.h"
#include "precision/range_file.h"

namespace lathe::precision {

// nullopt for a graph whose weights are elsewhere, which nobody can compare.
std::optional<std::string> search_key(const Graph& graph, const Backend& backend, const Batches& batches,
                                      const CalibrationCache& known, const PrecisionOptions& options);

struct Outcome {
  Assignment assignment;
  Report report;
  Ranges ranges;         // all that the types need
  ColumnMaxima columns;  // by which outliers were moved
};

// nullopt for one that is not there, or was edited.
std::optional<Outcome> recall(const TimingCache& cache, const std::string& key);
void keep(TimingCache& cache, const std::string& key, const Outcome& outcome);

}  // namespace lathe::precision
