#include "runtime/placement.h"

#include "runtime/memory_planner.h"

namespace lathe {
namespace {

// The steps during which each value's memory is in use, and those of each workspace.
std::vector<BufferLifetime> lifetimes(const Program& program) {
  const size_t values = program.values.size();
  std::vector<BufferLifetime> lives(values + program.steps.size(), BufferLifetime{0, -1, -1});
  for (size_t s = 0; s < program.steps.size(); ++s) {
    const auto now = static_cast<int>(s);
    const auto root_of = [&](int v) -> BufferLifetime& {
      return lives[static_cast<size_t>(program.values[static_cast<size_t>(v)].root)];
    };
    for (const int v : program.steps[s].outputs) root_of(v).first = root_of(v).last = now;
    for (const int v : program.steps[s].inputs)
      if (v >= 0) root_of(v).last = now;
    lives[values + s].first = lives[values + s].last = now;
  }
  return lives;
}

}  // namespace

std::shared_ptr<const Placement> place(const Program& program, std::vector<size_t> bytes) {
  auto placement = std::make_shared<Placement>();
  placement->offsets.assign(bytes.size(), kNotInArena);
  const std::vector<BufferLifetime> lives = lifetimes(program);
  std::vector<BufferLifetime> buffers;
  std::vector<size_t*> targets;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == kNotInArena) continue;
    buffers.push_back({bytes[i], lives[i].first, lives[i].last});
    targets.push_back(&placement->offsets[i]);
  }
  const MemoryPlan plan = plan_memory(buffers);
  for (size_t i = 0; i < targets.size(); ++i) *targets[i] = plan.offsets[i];
  placement->bytes = std::move(bytes);
  placement->arena_bytes = plan.arena_bytes;
  return placement;
}

bool fits(std::span<const size_t> bytes, const Placement& placement) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    const size_t capacity = placement.bytes[i];
    if (bytes[i] != kNotInArena && (capacity == kNotInArena || bytes[i] > capacity)) return false;
  }
  return true;
}

}  // namespace lathe
