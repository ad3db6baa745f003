#include "runtime/memory_planner.h"

#include <algorithm>
#include <numeric>

namespace lathe {

MemoryPlan plan_memory(std::span<const BufferLifetime> buffers) {
  MemoryPlan plan;
  plan.offsets.assign(buffers.size(), 0);
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return buffers[a].bytes > buffers[b].bytes; });

  std::vector<size_t> placed;  // sorted by offset
  for (const size_t index : order) {
    const BufferLifetime& buffer = buffers[index];
    const size_t bytes = (buffer.bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
    size_t offset = 0;
    for (const size_t other : placed) {
      const BufferLifetime& o = buffers[other];
      if (o.last < buffer.first || buffer.last < o.first) continue;
      if (offset + bytes <= plan.offsets[other]) break;
      offset =
          std::max(offset, plan.offsets[other] + (o.bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment);
    }
    plan.offsets[index] = offset;
    plan.arena_bytes = std::max(plan.arena_bytes, offset + bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), index,
                                   [&](size_t a, size_t b) { return plan.offsets[a] < plan.offsets[b]; }),
                  index);
  }
  return plan;
}

}  // namespace lathe
