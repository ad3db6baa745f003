// Where the buffers of a run lie in its arena. A placement made for larger sizes serves smaller ones as well: a
// profile's largest sizes reserve memory once, and all sizes up to them find every value at the same address.
#pragma once

#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "build/program.h"

namespace lathe {

inline constexpr size_t kNotInArena = std::numeric_limits<size_t>::max();

struct Placement {
  // By value and, after the values, by step for its workspace; kNotInArena for what has no place there.
  std::vector<size_t> bytes, offsets;
  size_t arena_bytes = 0;
};

// `bytes` as in Placement. Memory that is not used at the same time is shared.
std::shared_ptr<const Placement> place(const Program& program, std::vector<size_t> bytes);

// Whether every buffer finds its place, large enough, in a placement that was made for other sizes.
bool fits(std::span<const size_t> bytes, const Placement& placement);

}  // namespace lathe
