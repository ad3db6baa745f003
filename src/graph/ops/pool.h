// Pooling over spatial windows.
#pragma once

#include "graph/ops/field_types.h"

namespace lathe {

enum class PoolKind : uint8_t { max, average, lp };

// (x [N, C, spatial..]) -> y, or for max with two outputs also the i64 index of the maximum in x flattened (row-major,
// or column-major within a channel's plane when column_major_indices). Windows that lie wholly in the padding give -inf
// / 0. With ceil_mode the last window may start inside the input or the left padding only.
struct Pool {
  static constexpr std::string_view kName = "pool";
  PoolKind kind = PoolKind::max;
  std::vector<int64_t> kernel;
  std::vector<int64_t> strides;
  std::vector<int64_t> dilations;
  Shape pads;
  bool ceil_mode = false;
  bool count_include_pad = false;
  int64_t p = 2;  // of the lp norm
  bool column_major_indices = false;
  bool channels_last = false;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("kind", s.kind);
    visit("kernel", s.kernel);
    visit("strides", s.strides);
    visit("dilations", s.dilations);
    visit("pads", s.pads);
    visit("ceil_mode", s.ceil_mode);
    visit("count_include_pad", s.count_include_pad);
    visit("p", s.p);
    visit("column_major_indices", s.column_major_indices);
    visit("channels_last", s.channels_last);
  }
};

}  // namespace lathe
