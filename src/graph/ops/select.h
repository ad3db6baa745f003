// Ops whose result depends on comparing elements: top-k, non-zero positions, non-maximum suppression.
#pragma once

#include "graph/ops/field_types.h"

namespace lathe {

// (x) -> (values, i64 indices), the k largest or smallest along an axis; sorted, ties by lower index first.
struct TopK {
  static constexpr std::string_view kName = "top_k";
  Dim k;
  int64_t axis = -1;
  bool largest = true;
  bool sorted = true;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("k", s.k);
    visit("axis", s.axis);
    visit("largest", s.largest);
    visit("sorted", s.sorted);
  }
};

// (x) -> i64 [rank, count]: row-major positions of the elements that are not zero; `count` is bound at run time.
struct NonZero {
  static constexpr std::string_view kName = "non_zero";
  template <class Self, class V>
  static void fields(Self&, V&&) {}
};

// (boxes [batch, n, 4], scores [batch, classes, n]) -> i64 [selected, 3] of (batch, class, box); `selected` is bound at
// run time. A box whose score is NaN is never selected.
struct Nms {
  static constexpr std::string_view kName = "nms";
  Dim max_per_class;  // 0: nothing is selected
  double iou_threshold = 0;
  std::optional<double> score_threshold;
  bool center_point = false;  // boxes are (x, y, w, h) rather than two corners
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("max_per_class", s.max_per_class);
    visit("iou_threshold", s.iou_threshold);
    visit("score_threshold", s.score_threshold);
    visit("center_point", s.center_point);
  }
};

}  // namespace lathe
