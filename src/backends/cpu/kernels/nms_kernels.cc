#include "backends/cpu/kernels/nms_kernels.h"

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

bool overlaps(const BoxList& boxes, int64_t box, const BoxList& others, float threshold) noexcept {
  if (!(boxes.area[box] > 0)) return false;
  const Vec left = splat(boxes.left[box]), bottom = splat(boxes.bottom[box]), right = splat(boxes.right[box]),
            top = splat(boxes.top[box]), area = splat(boxes.area[box]), limit = splat(threshold);
  for (int64_t i = 0; i < others.count; i += kVecWidth) {
    const int64_t rest = others.count - i;
    const int lanes = rest < kVecWidth ? static_cast<int>(rest) : kVecWidth;
    const Vec other_area = load_lanes(others.area + i, lanes);  // 0 in the lanes beyond the end
    const Vec width = min(right, load_lanes(others.right + i, lanes)) - max(left, load_lanes(others.left + i, lanes));
    const Vec height = min(top, load_lanes(others.top + i, lanes)) - max(bottom, load_lanes(others.bottom + i, lanes));
    const Vec shared = width * height, ratio = shared / (area + other_area - shared);
    const Mask meet = both(both(less(zero(), width), less(zero(), height)), less(zero(), other_area));
    if (any(both(meet, less(limit, ratio)))) return true;
  }
  return false;
}

constexpr NmsKernels kKernels = {overlaps};

}  // namespace

const NmsKernels& nms() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
