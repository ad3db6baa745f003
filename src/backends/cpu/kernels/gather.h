// Picking slices by index: along one axis, or wherever the rows of an index tensor point.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/positions.h"
#include "base/thread_team.h"

namespace lathe::cpu {

// data is [outer, axis, inner_bytes], indices [count], out [outer, count, inner_bytes]:
// out[o][j] = data[o][indices[j]]. Index i < 0 means axis + i.
struct Gather {
  int64_t outer, axis, inner_bytes, count;
  const void* data;
  IndexTensor indices;
  void* out;
};

// Returns -1, or the position in `indices` of an index outside the axis; `out` is then undefined.
int64_t gather(ThreadTeam& team, const Gather& gather);

// out[i] = the slice of data that starts at position i.
struct GatherSlices {
  const Positions& positions;
  int64_t element_bytes;
  const void* data;
  IndexTensor indices;
  void* out;
};

// Returns as gather().
int64_t gather_slices(ThreadTeam& team, const GatherSlices& gather);

}  // namespace lathe::cpu
