// Data movement that other families use too.
#pragma once

#include <span>
#include <vector>

#include "graph/reference/numbers.h"
#include "graph/tensor.h"

namespace lathe::reference {

// y's axis i is x's axis perm[i].
Tensor transpose(const Tensor& x, std::span<const int64_t> perm);
// [N, C, spatial..] to [N, spatial.., C] and back.
Tensor to_channels_last(const Tensor& x);
Tensor to_channels_first(const Tensor& x);

// `count` elements from `start` along an axis, `step` apart.
Tensor slice(const Tensor& x, size_t axis, int64_t start, int64_t count, int64_t step = 1);
// Joins tensors (one at least) that agree in all other axes.
Tensor concat(std::span<const Tensor> parts, size_t axis);
// Joins tensors (one at least) of equal shape along a new axis.
Tensor stack(std::span<const Tensor> parts, size_t axis);

Tensor insert_axis(const Tensor& x, size_t axis);
Tensor remove_axis(const Tensor& x, size_t axis);  // which has one element

}  // namespace lathe::reference
