// What was measured before: the types that a search chose for a model's layers are kept in the timing cache, so that
// the same build need not search again. The key covers whatever decides the outcome: the graph with its weights, the
// device, what is asked, the ranges that were calibrated, the inputs and the version of Lathe.
#pragma once

#include <optional>
#include <string>

#include "build/timing_cache.h"
#include "precision/assign.h"

namespace lathe::precision {

// nullopt for a graph whose weights are elsewhere, which nobody can compare.
std::optional<std::string> search_key(const Graph& graph, const Backend& backend, const Batches& batches,
                                      const Ranges& ranges, const PrecisionOptions& options);

struct Outcome {
  Assignment assignment;
  Report report;
};

// nullopt for one that is not there, or is no outcome for a graph of so many nodes.
std::optional<Outcome> recall(const TimingCache& cache, const std::string& key, size_t nodes);
void keep(TimingCache& cache, const std::string& key, const Assignment& assignment, const Report& report);

}  // namespace lathe::precision
