// Picking slices along one axis by index.
#pragma once

#include <cstdint>

#include "base/thread_team.h"

namespace lathe::cpu {

// data is [outer, axis, inner_bytes], indices [count] of i32 or i64, out [outer, count, inner_bytes]:
// out[o][j] = data[o][indices[j]]. Index i < 0 means axis + i.
struct Gather {
  int64_t outer, axis, inner_bytes, count;
  const void* data;
  const void* indices;
  bool indices_i64;
  void* out;
};

// Returns -1, or the position in `indices` of an index outside the axis; `out` is then undefined.
int64_t gather(ThreadTeam& team, const Gather& gather);

}  // namespace lathe::cpu
