// Putting slices where an index tensor points, over or combined with what is there.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/positions.h"
#include "base/dtype.h"
#include "base/thread_team.h"

namespace lathe::cpu {

enum class ScatterKind : uint8_t { replace, add, multiply, maximum, minimum };

// Whether elements of this type can be combined: numbers of at least a byte, no half precision, no booleans. Any type
// of whole bytes can be replaced.
bool can_combine(DType type);

// out = data, then slice i of `updates` goes to position i, one after the other: among updates of one element the last
// wins. Integers wrap around; NaN wins maximum and minimum.
struct Scatter {
  const Positions& positions;
  ScatterKind kind;
  DType type;
  int64_t elements;  // of data and out
  const void* data;
  IndexTensor indices;
  const void* updates;
  void* out;
};

// Returns -1, or which element of the index tensor is out of range; `out` is then undefined. The result does not depend
// on the number of threads.
int64_t scatter(ThreadTeam& team, const Scatter& scatter);

}  // namespace lathe::cpu
