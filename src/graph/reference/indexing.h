// Row-major index arithmetic and the two primitives of data movement: out[i] = x[source[i]] and out[target[i]] = x[i].
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "graph/reference/numbers.h"
#include "graph/tensor.h"

namespace lathe::reference {

Sizes row_major_strides(std::span<const int64_t> sizes);
int64_t product_of(std::span<const int64_t> sizes);

// The sizes that two shapes broadcast to, aligned at the last axis. Throws Error(invalid_argument) when they clash.
Sizes broadcast_sizes(std::span<const int64_t> a, std::span<const int64_t> b);
// Strides that walk a tensor of sizes `from` over the index space `to`: 0 along the axes where it is repeated. Throws
// Error(invalid_argument) when `from` does not broadcast to `to`.
Sizes broadcast_strides(std::span<const int64_t> from, std::span<const int64_t> to);

// An axis counted from the front; negative ones count from the end. Throws Error(invalid_model) when out of range.
size_t resolve_axis(int64_t axis, int64_t rank);
// An index into an axis of `size`; negative ones count from the end. Throws Error(invalid_argument) when out of range.
int64_t resolve_index(int64_t index, int64_t size);

// Calls f(offset) for each index of `sizes` in row-major order; offset = start + the dot product of index and strides.
template <class F>
void for_each_offset(std::span<const int64_t> sizes, std::span<const int64_t> strides, int64_t start, F&& f) {
  if (product_of(sizes) == 0) return;
  const size_t rank = sizes.size();
  if (rank == 0) return f(start);
  const int64_t inner = sizes[rank - 1], step = strides[rank - 1];
  Sizes index(rank, 0);
  for (int64_t row = start;;) {
    for (int64_t i = 0; i < inner; ++i) f(row + i * step);
    size_t axis = rank - 1;
    while (axis > 0) {
      --axis;
      row += strides[axis];
      if (++index[axis] < sizes[axis]) break;
      row -= strides[axis] * sizes[axis];
      index[axis] = 0;
      if (axis == 0) return;
    }
    if (rank == 1) return;
  }
}

// The offsets of for_each_offset as a list.
std::vector<int64_t> offsets(std::span<const int64_t> sizes, std::span<const int64_t> strides, int64_t start = 0);

// out[i] = x[source[i]], for any element type. A source of kFill takes the only element of `fill`, or 0.
inline constexpr int64_t kFill = -1;
Tensor pick(const Tensor& x, Sizes sizes, std::span<const int64_t> source, const Tensor* fill = nullptr);
// out[target[i]] = x[i]; both have the same element type.
void put(Tensor& out, std::span<const int64_t> target, const Tensor& x);

// Shapes split at an axis: outer x axis x inner.
struct AxisSplit {
  int64_t outer = 1, size = 1, inner = 1;
  AxisSplit(std::span<const int64_t> sizes, size_t axis);
};

// The elements of x repeated to a larger index space.
std::vector<double> read_broadcast(const Tensor& x, std::span<const int64_t> sizes);

}  // namespace lathe::reference
