// Reductions along axes, arg-reductions and running sums.
#pragma once

#include "graph/ops/field_types.h"

namespace lathe {

enum class ReduceKind : uint8_t { sum, mean, max, min, prod, l1, l2, log_sum, log_sum_exp, sum_square };

// (x) -> y. Reduces the axes (sorted, not negative). An empty reduction gives the identity of the kind (0 for sum, -inf
// or the lowest integer for max, ..), NaN propagates. No axes: a copy (after the kind's elementwise part).
struct Reduce {
  static constexpr std::string_view kName = "reduce";
  ReduceKind kind = ReduceKind::sum;
  std::vector<int64_t> axes;
  bool keep_dims = true;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("kind", s.kind);
    visit("axes", s.axes);
    visit("keep_dims", s.keep_dims);
  }
};

// (x) -> i64 indices of the largest or smallest element along one axis; ties go to the first, or the last, occurrence.
struct ArgReduce {
  static constexpr std::string_view kName = "arg_reduce";
  bool largest = true;
  int64_t axis = 0;
  bool keep_dims = true;
  bool select_last = false;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("largest", s.largest);
    visit("axis", s.axis);
    visit("keep_dims", s.keep_dims);
    visit("select_last", s.select_last);
  }
};

enum class CumulativeKind : uint8_t { sum, prod };

// (x) -> y of the same type: running sum or product along an axis.
struct Cumulative {
  static constexpr std::string_view kName = "cumulative";
  CumulativeKind kind = CumulativeKind::sum;
  int64_t axis = 0;
  bool exclusive = false;
  bool reverse = false;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("kind", s.kind);
    visit("axis", s.axis);
    visit("exclusive", s.exclusive);
    visit("reverse", s.reverse);
  }
};

}  // namespace lathe
