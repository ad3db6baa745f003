// What the device of a session can do at best, measured: the floor that times of steps are held against.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <variant>

#include "backends/cuda/gpu_peak.h"
#include "build/machine_peak.h"
#include "graph/cost.h"
#include "tools/model_options.h"

namespace lathe::tools {

class DevicePeak {
 public:
  // Measures for up to a few seconds.
  explicit DevicePeak(const ModelOptions& options);

  // The shortest time in which a step that computes with `type` can be done.
  double floor_seconds(const Cost& cost, DType type) const;
  std::string describe() const;
  nlohmann::json json() const;

 private:
  std::variant<MachinePeak, cuda::GpuPeak> peak_;
};

}  // namespace lathe::tools
