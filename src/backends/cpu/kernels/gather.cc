#include "backends/cpu/kernels/gather.h"

#include <cstddef>
#include <cstring>

namespace lathe::cpu {
namespace {

// Below this a fork costs more than it saves.
constexpr int64_t kParallelBytes = 64 * 1024;

int64_t index_at(const Gather& g, int64_t position) {
  const int64_t index = g.indices_i64 ? static_cast<const int64_t*>(g.indices)[position]
                                      : static_cast<const int32_t*>(g.indices)[position];
  return index < 0 ? index + g.axis : index;
}

template <class Copy>
void copy_rows(const Gather& g, int64_t begin, int64_t end, Copy copy) {
  const auto* data = static_cast<const std::byte*>(g.data);
  auto* out = static_cast<std::byte*>(g.out);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t from = row / g.count * g.axis + index_at(g, row % g.count);
    copy(out + row * g.inner_bytes, data + from * g.inner_bytes);
  }
}

// Short slices of the usual element sizes need no call of memcpy each.
void gather_rows(const Gather& g, int64_t begin, int64_t end) {
  switch (g.inner_bytes) {
    case 4: return copy_rows(g, begin, end, [](std::byte* to, const std::byte* from) { std::memcpy(to, from, 4); });
    case 8: return copy_rows(g, begin, end, [](std::byte* to, const std::byte* from) { std::memcpy(to, from, 8); });
    default:
      return copy_rows(g, begin, end, [&](std::byte* to, const std::byte* from) {
        std::memcpy(to, from, static_cast<size_t>(g.inner_bytes));
      });
  }
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

}  // namespace lathe::cpu
