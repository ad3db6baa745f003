// Writes a compiled model as a plan file (plan_format.h). Weights stream through one at a time, packed on the way, so
// that peak memory stays near the size of the model; the file appears only when it is complete.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "build/plan_format.h"

namespace lathe {

struct PlanWriteOptions {
  std::string model;  // file name of the source, for inspect
  std::vector<Profile> profiles;
  int threads = 0;
  std::function<void(uint64_t done, uint64_t total)> progress;  // bytes of weights; may throw to cancel
};

struct PlanSize {
  uint64_t file_bytes = 0, weight_bytes = 0;
};

// Throws Error(io) when the target cannot be written.
PlanSize write_plan(const std::filesystem::path& path, const CompiledModel& model, const PlanWriteOptions& options);

}  // namespace lathe
