// Chooses among the kernels that a backend offers for a node by timing them on the sizes of a profile. Nodes with one
// kernel, or with sizes that the profile leaves open, keep the backend's own order; so does a node whose first kernel
// is within kTuneMargin of the best, so that noise does not change plans.
#pragma once

#include <functional>

#include "build/compiler.h"
#include "build/timing_cache.h"

namespace lathe {

inline constexpr double kTuneMargin = 0.03;

struct TuneOptions {
  int threads = 1;
  Profile profile;                               // its usual sizes are the ones timed
  std::function<void(size_t, size_t)> progress;  // nodes done, nodes in all; may throw to cancel
};

// Times what `cache` does not know yet and adds it there. Throws Error(invalid_argument) when the profile names an
// unknown input or does not fit one.
KernelChoices tune(const Graph& graph, const Backend& backend, const TuneOptions& options, TimingCache& cache);

}  // namespace lathe
