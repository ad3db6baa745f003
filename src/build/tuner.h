// Chooses among the kernels that a backend offers for a node by timing them on the usual sizes of each profile. With
// several profiles each counts the same: a kernel's time is taken relative to the fastest one's for that profile, and
// the lowest sum wins. Nodes with one kernel, or with sizes that all profiles leave open, keep the backend's own order;
// so does a node whose first kernel is within kTuneMargin of the best, so that noise does not change plans.
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
