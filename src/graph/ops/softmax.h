// Softmax and log-softmax.
#pragma once

#include "graph/ops/field_types.h"

namespace lathe {

// (x) -> y along one axis (not negative). A row of -inf only gives NaN, as ONNX defines, unless `safe`: then it gives
// 0.
struct Softmax {
  static constexpr std::string_view kName = "softmax";
  int64_t axis = -1;
  bool log = false;
  bool safe = false;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("axis", s.axis);
    visit("log", s.log);
    visit("safe", s.safe);
  }
};

}  // namespace lathe
