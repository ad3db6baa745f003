#include "backends/cpu/kernels/gather.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace lathe::cpu {
namespace {

// Below this a fork costs more than it saves.
constexpr int64_t kParallelBytes = 64 * 1024;

// Calls run(copy) with a copy(to, from) of `bytes` bytes: short slices of the usual sizes need no call of memcpy each.
template <class Run>
void with_copy(int64_t bytes, Run run) {
  const auto fixed = [&]<size_t size>() {
    run([](std::byte* to, const std::byte* from) { std::memcpy(to, from, size); });
  };
  switch (bytes) {
    case 1: return fixed.template operator()<1>();
    case 2: return fixed.template operator()<2>();
    case 4: return fixed.template operator()<4>();
    case 8: return fixed.template operator()<8>();
    case 16: return fixed.template operator()<16>();
    default:
      return run([bytes](std::byte* to, const std::byte* from) { std::memcpy(to, from, static_cast<size_t>(bytes)); });
  }
}

int64_t index_at(const Gather& g, int64_t position) {
  const int64_t index = g.indices.at(position);
  return index < 0 ? index + g.axis : index;
}

void gather_rows(const Gather& g, int64_t begin, int64_t end) {
  const auto* data = static_cast<const std::byte*>(g.data);
  auto* out = static_cast<std::byte*>(g.out);
  with_copy(g.inner_bytes, [&](auto copy) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t from = row / g.count * g.axis + index_at(g, row % g.count);
      copy(out + row * g.inner_bytes, data + from * g.inner_bytes);
    }
  });
}

void gather_part(const GatherSlices& g, int64_t begin, int64_t end, FirstWrong& wrong) {
  const int64_t bytes = g.positions.slice_elements() * g.element_bytes;
  with_copy(bytes, [&](auto copy) {
    const auto* data = static_cast<const std::byte*>(g.data);
    const int64_t element_bytes = g.element_bytes;
    int64_t starts[kPositionBlock];
    for (int64_t block = begin; block < end; block += kPositionBlock) {
      const int64_t count = std::min(kPositionBlock, end - block);
      if (const int64_t found = g.positions.resolve(g.indices, block, block + count, starts); found >= 0)
        return wrong.report(found);
      auto* out = static_cast<std::byte*>(g.out) + block * bytes;
      for (int64_t i = 0; i < count; ++i) copy(out + i * bytes, data + starts[i] * element_bytes);
    }
  });
}

}  // namespace

int64_t gather(ThreadTeam& team, const Gather& g) {
  for (int64_t position = 0; position < g.count; ++position) {
    const int64_t index = index_at(g, position);
    if (index < 0 || index >= g.axis) return position;
  }
  const int64_t rows = g.outer * g.count;
  if (rows == 0 || g.inner_bytes == 0) return -1;
  if (rows * g.inner_bytes < kParallelBytes) {
    gather_rows(g, 0, rows);
  } else {
    team.parallel_for(rows, [&](int64_t begin, int64_t end, int) { gather_rows(g, begin, end); });
  }
  return -1;
}

int64_t gather_slices(ThreadTeam& team, const GatherSlices& g) {
  FirstWrong wrong;
  team.parallel_for(g.positions.count(), [&](int64_t begin, int64_t end, int) { gather_part(g, begin, end, wrong); });
  return wrong.result();
}

}  // namespace lathe::cpu
