// One box against many.
#pragma once

#include <cstdint>

namespace lathe::cpu {

// A list of boxes by coordinate; a box whose area is not positive overlaps nothing.
struct BoxList {
  const float *left, *bottom, *right, *top, *area;
  int64_t count;
};

struct NmsKernels {
  // Whether intersection / union of box `box` of `boxes` with any box of `others` is above the threshold.
  bool (*overlaps)(const BoxList& boxes, int64_t box, const BoxList& others, float threshold) noexcept;
};

}  // namespace lathe::cpu
