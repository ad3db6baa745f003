// Where a run of a program has to wait for its device, besides at its end, and what it cannot set memory aside for:
// what a build tells of a plan for a device with memory of its own. A run without any of these waits once and allocates
// nothing.
#pragma once

#include <set>
#include <string>

#include "build/program.h"

namespace lathe {

struct Waits {
  // Steps, those of regions included, and their ops.
  struct Count {
    size_t steps = 0;
    std::set<std::string, std::less<>> ops;
  };
  Count fallbacks;     // steps on the host, which fetch their operands
  Count sizes;         // of results that only the device knows, or that the model computes
  Count conditions;    // of branches; of loops, for every iteration
  size_t growing = 0;  // values whose memory grows with such sizes, when a run needs more than any before

  size_t steps() const { return fallbacks.steps + sizes.steps + conditions.steps; }
};

Waits find_waits(const Program& program);

}  // namespace lathe
