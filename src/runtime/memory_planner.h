// Places buffers with known lifetimes into one arena so that buffers alive at the same time never overlap. Greedy by
// size: the largest first, each at the lowest offset that is free over its whole lifetime.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace lathe {

struct BufferLifetime {
  size_t bytes = 0;
  int first = 0, last = 0;  // steps during which the buffer is in use, both included
};

struct MemoryPlan {
  std::vector<size_t> offsets;  // one per buffer, multiples of kArenaAlignment
  size_t arena_bytes = 0;
};

inline constexpr size_t kArenaAlignment = 64;

MemoryPlan plan_memory(std::span<const BufferLifetime> buffers);

}  // namespace lathe
