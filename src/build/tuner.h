// Chooses among the kernels that a backend offers for a node by timing them: at the usual sizes of each profile, and at
// some between its smallest and largest. The fastest serves at each size, where all of them read the node's weights in
// one layout; else one kernel serves all sizes, the one with the lowest sum of times, relative to the fastest, over the
// usual sizes of the profiles. Nodes with one kernel, or with sizes that all profiles leave open, keep the backend's
// own order; so does a node whose first kernel is within kTuneMargin of the best, so that noise does not change plans.
#pragma once

#include <functional>

#include "build/compiler.h"
#include "build/timing_cache.h"

namespace lathe {

inline constexpr double kTuneMargin = 0.03;

struct TuneOptions {
  int threads = 1;
  std::vector<Profile> profiles;
  std::function<void(size_t, size_t)> progress;  // nodes done, nodes in all; may throw to cancel
};

// Times what `cache` does not know yet and adds it there. Throws Error(invalid_argument) when a profile names an
// unknown input or does not fit one.
KernelChoices tune(const CompiledModel& model, const TuneOptions& options, TimingCache& cache);
// The model lowered again, with the kernels that tune() chooses.
CompiledModel tuned(CompiledModel model, const CompileOptions& compile_options, const TuneOptions& options,
                    TimingCache& cache);

}  // namespace lathe
