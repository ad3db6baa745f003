// Non-maximum suppression of boxes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "backends/cpu/kernels/kernel_table.h"
#include "base/thread_team.h"

namespace lathe::cpu {

// boxes [batch, count, 4]: two opposite corners, or with center_point (x, y, width, height). scores [batch, classes,
// count]. Of each batch and class, boxes are taken best first, ties by lower index, if their score is above the
// threshold and they overlap no box taken before by more than iou_threshold, until there are max_per_class. A box whose
// score is NaN is never taken. Areas and overlaps are f32.
struct Nms {
  int64_t batch, classes, count;
  const float* boxes;
  const float* scores;
  int64_t max_per_class;
  float iou_threshold;
  std::optional<float> score_threshold;
  bool center_point;
};

// Rows of (batch, class, box), one after the other.
std::vector<int64_t> nms(ThreadTeam& team, const KernelTable& kernels, const Nms& nms);

}  // namespace lathe::cpu
