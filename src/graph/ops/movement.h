// Data movement that depends on sizes only: reshape, transpose, slice, concat, pad.
#pragma once

#include "graph/ops/field_types.h"

namespace lathe {

// (x) -> the same elements, row-major, under another shape with the same element count.
struct Reshape {
  static constexpr std::string_view kName = "reshape";
  Shape shape;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("shape", s.shape);
  }
};

// (x) -> y with y's axis i being x's axis perm[i].
struct Transpose {
  static constexpr std::string_view kName = "transpose";
  std::vector<int64_t> perm;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("perm", s.perm);
  }
};

// (x) -> y: along axes[i], y's element j is x's element starts[i] + j * steps[i], for j < sizes[i]. Importers resolve
// negative and clamped bounds; steps may be negative, never 0. Axes are sorted, not negative.
struct Slice {
  static constexpr std::string_view kName = "slice";
  std::vector<int64_t> axes;
  Shape starts;
  Shape sizes;
  std::vector<int64_t> steps;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("axes", s.axes);
    visit("starts", s.starts);
    visit("sizes", s.sizes);
    visit("steps", s.steps);
  }
};

// (x0, .., xn) -> y, joined along one axis (not negative).
struct Concat {
  static constexpr std::string_view kName = "concat";
  int64_t axis = 0;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("axis", s.axis);
  }
};

enum class PadMode : uint8_t { constant, reflect, edge, wrap };

// (x, value?) -> y: begins[i] and ends[i] elements added around axis i (negative ones crop). `value` is a scalar, 0 if
// absent.
struct Pad {
  static constexpr std::string_view kName = "pad";
  PadMode mode = PadMode::constant;
  Shape begins;
  Shape ends;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("mode", s.mode);
    visit("begins", s.begins);
    visit("ends", s.ends);
  }
};

// (x, sequence lengths i64 [batch]) -> y: reverses the first lengths[b] elements along time_axis.
struct ReverseSequence {
  static constexpr std::string_view kName = "reverse_sequence";
  int64_t batch_axis = 1;
  int64_t time_axis = 0;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("batch_axis", s.batch_axis);
    visit("time_axis", s.time_axis);
  }
};

}  // namespace lathe
