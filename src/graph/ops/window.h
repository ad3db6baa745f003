// The arithmetic of sliding windows that convolution and pooling share.
#pragma once

#include "graph/ops/infer_ops.h"

namespace lathe {

// One entry per spatial axis in each list (two in pads), all positive except pads. An empty kernel is not checked.
inline void check_windows(const InferContext& c, size_t spatial, const std::vector<int64_t>& kernel,
                          const std::vector<int64_t>& strides, const std::vector<int64_t>& dilations,
                          const Shape& pads) {
  const auto check = [&](const std::vector<int64_t>& list, std::string_view name) {
    if (list.size() != spatial) c.fail("{} needs one entry for each of {} spatial axes", name, spatial);
    for (const int64_t entry : list)
      if (entry < 1) c.fail("{} holds {}, which is not positive", name, entry);
  };
  if (!kernel.empty()) check(kernel, "kernel");
  check(strides, "strides");
  check(dilations, "dilations");
  if (pads.size() != 2 * spatial) c.fail("pads needs two entries for each of {} spatial axes", spatial);
}

// How many windows of `extent` elements fit into `padded` elements, `stride` apart.
inline Dim window_count(const InferContext& c, const Dim& padded, const Dim& extent, int64_t stride) {
  Dim count = floor_div(padded - extent, stride) + 1;
  if (count.is_constant() && count.value() < 0)
    c.fail("a window of {} elements does not fit into {} padded elements", extent.to_string(), padded.to_string());
  return count;
}

}  // namespace lathe
