// Positions of the elements that are not zero.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/dtype.h"
#include "base/thread_team.h"

namespace lathe::cpu {

// Booleans and numbers of whole bytes up to 8. -0 is zero, NaN is not.
bool can_test_for_zero(DType type);

// Counts, asks `allocate` for memory of [rank, count] numbers, and writes the coordinates there, in row-major order of
// the elements. `counts` is scratch of one number per thread and one more.
void non_zero(ThreadTeam& team, DType type, std::span<const int64_t> dims, const void* x, std::span<int64_t> counts,
              const std::function<int64_t*(int64_t count)>& allocate);

}  // namespace lathe::cpu
