// Which weights stay on a device that has no room for all of them, and how the others take turns in what is left.
//
// The weights of a step travel together, and those of neighbouring steps in one group, as large as a slot of the ring.
// Group g uses slot g % slots, so that every weight has one address for good: steps are prepared as ever. The first
// steps keep theirs, for as long as there is room: while they run, those of the first groups come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "build/program.h"

namespace lathe {

struct StreamGroup {
  std::vector<size_t> weights;
  size_t first_step = 0, last_step = 0;
};

struct StreamPlan {
  static constexpr size_t kSlots = 2;
  static constexpr size_t kAlignment = 256;

  std::vector<StreamGroup> groups;  // in the order of the steps; none when everything fits
  std::vector<int> group_of_step;   // -1: its weights stay
  std::vector<bool> streamed;       // by weight
  std::vector<size_t> offsets;      // by weight that streams, within its slot
  size_t slot_bytes = 0;
  size_t resident_bytes = 0;
};

// That a step reads, and its regions.
std::set<size_t> weights_of(const Program& program, const ProgramStep& step);
// That leave as outputs: read after the last step.
std::set<size_t> weights_of_outputs(const Program& program);

// `bytes` of each weight on the device. Weights of several steps, and of regions, stay. Throws Error(out_of_memory),
// naming what would do, when the budget is too small for any plan.
StreamPlan plan_streams(const Program& program, const std::vector<size_t>& bytes, size_t budget);

}  // namespace lathe
