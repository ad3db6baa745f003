// Reductions of dense float tensors over any axes, and the operators that are reductions at heart: argmax, cumulative
// sum, and softmax along an axis that is not the last.
//
// Sums are taken in float over short runs and in double above them. NaN in a slice makes its result NaN. A reduction
// over nothing gives the identity: 0 for sums and norms, 1 for products, -inf for max and log sums, +inf for min, NaN
// for mean.
#pragma once

#include <cstdint>
#include <span>

#include "backends/cpu/kernels/kernel_table.h"
#include "base/thread_team.h"

namespace lathe::cpu {

enum class ReduceKind : uint8_t { sum, mean, max, min, product, sum_square, l1, l2, log_sum, log_sum_exp };

// Adjacent axes of the same sort are merged first; at most this many may remain.
inline constexpr int kMaxReduceAxes = 16;

// out is dense and has the axes that are not reduced, in order (with or without the reduced ones as size 1).
// reduced[a] tells for each axis of dims whether it goes. Throws Error(unsupported) beyond kMaxReduceAxes.
void reduce(ThreadTeam& team, const KernelTable& kernels, ReduceKind kind, std::span<const int64_t> dims,
            std::span<const bool> reduced, const float* x, float* out);

// A tensor seen along one axis: [outer, axis, inner].
struct AxisView {
  int64_t outer, axis, inner;
};
AxisView view_along(std::span<const int64_t> dims, int64_t axis);

// out [outer, inner]: position of the largest (smallest) value, the first or the last of equals; NaN counts as largest
// and as smallest, as in NumPy. The axis must not be empty.
void arg_extreme(ThreadTeam& team, const AxisView& view, bool largest, bool last_of_equals, const float* x,
                 int64_t* out);

// Running sums in double. exclusive: without the own element; reverse: from the end.
void cumulative_sum(ThreadTeam& team, const AxisView& view, bool exclusive, bool reverse, const float* x, float* out);

// Softmax or log-softmax along the axis; x and y may be the same. For inner == 1 the row kernels of softmax.h are
// faster.
void softmax_along(ThreadTeam& team, const KernelTable& kernels, const AxisView& view, bool log, const float* x,
                   float* y);

}  // namespace lathe::cpu
