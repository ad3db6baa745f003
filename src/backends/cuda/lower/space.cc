#include "backends/cuda/lower/space.h"

#include <algorithm>

namespace lathe::cuda {
namespace {

// The size of `shape` along `axis` of a space of rank `rank`; 1 where the shape is shorter.
Dim dim_at(const Shape& shape, size_t axis, size_t rank) {
  const size_t missing = rank - shape.size();
  return axis < missing ? Dim(1) : shape[axis - missing];
}

// True when the operand either has all of both axes, or repeats along both.
bool walks_alike(const Shape& shape, const Shape& space, size_t axis) {
  const auto follows = [&](size_t a) { return dim_at(shape, a, space.size()) == space[a]; };
  const auto repeats = [&](size_t a) { return dim_at(shape, a, space.size()) == Dim(1) && space[a] != Dim(1); };
  return (follows(axis) && follows(axis + 1)) || (repeats(axis) && repeats(axis + 1));
}

}  // namespace

BroadcastSpace::BroadcastSpace(const Shape& space, const std::vector<Shape>& operands, Options options)
    : merged_(space.size(), 0) {
  for (size_t axis = 1; axis < space.size(); ++axis) {
    const bool alike = options.merge && axis != options.fence &&
                       std::all_of(operands.begin(), operands.end(),
                                   [&](const Shape& operand) { return walks_alike(operand, space, axis - 1); });
    merged_[axis] = merged_[axis - 1] + (alike ? 0 : 1);
  }
  if (!merged_.empty()) rank_ = merged_.back() + 1;
}

void BroadcastSpace::fill_sizes(std::span<const int64_t> space, unsigned long long* sizes) const {
  std::fill_n(sizes, rank_, 1);
  for (size_t axis = 0; axis < merged_.size(); ++axis)
    sizes[merged_[axis]] *= static_cast<unsigned long long>(space[axis]);
}

// The strides of axes that were merged agree, so the last of them that has more than one position decides.
void BroadcastSpace::fill_strides(std::span<const int64_t> operand, std::span<const int64_t> space,
                                  long long* strides) const {
  const size_t missing = space.size() - operand.size();
  long long stride = 1;
  std::vector<bool> set(rank_, false);
  std::fill_n(strides, rank_, 0);
  for (size_t axis = space.size(); axis-- > missing;) {
    const int64_t size = operand[axis - missing];
    if (!set[merged_[axis]] && space[axis] != 1) {
      strides[merged_[axis]] = size == 1 ? 0 : stride;
      set[merged_[axis]] = true;
    }
    stride *= size;
  }
}

}  // namespace lathe::cuda
