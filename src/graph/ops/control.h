// Control flow. Regions see nothing of the graph around them: what they use from outside comes in as operands and is a
// region input, so a region can be rewritten, printed and run on its own. Symbols are shared: a region may mention
// outer symbols; the symbols of its own input types are bound anew each time it is entered.
#pragma once

#include "graph/ops/field_types.h"
#include "graph/region.h"

namespace lathe {

// (condition bool [], captures..) -> outputs of the branch taken. Both regions take (captures..) and give the same
// number of outputs.
struct If {
  static constexpr std::string_view kName = "if";
  Region then_branch, else_branch;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("then_branch", s.then_branch);
    visit("else_branch", s.else_branch);
  }
};

// (trip_count i64 []?, condition bool []?, carried.. x num_carried, captures..) -> (carried.., scans..). The body takes
// (iteration i64 [], condition bool [], carried.., captures..) and gives (condition, carried.., scan slices..); slices
// are stacked along a new first axis.
struct Loop {
  static constexpr std::string_view kName = "loop";
  int64_t num_carried = 0;
  Region body;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("num_carried", s.num_carried);
    visit("body", s.body);
  }
};

// (states.. x num_states, scanned.. x num_scanned, captures..) -> (states.., scans..). The body takes (states..,
// slices.., captures..) and gives (states.., slices..). Axis and direction per scanned input and per scan output.
struct Scan {
  static constexpr std::string_view kName = "scan";
  int64_t num_states = 0;
  int64_t num_scanned = 0;
  std::vector<int64_t> input_axes, output_axes;
  std::vector<int64_t> input_reversed, output_reversed;  // 0 or 1 each
  Region body;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("num_states", s.num_states);
    visit("num_scanned", s.num_scanned);
    visit("input_axes", s.input_axes);
    visit("output_axes", s.output_axes);
    visit("input_reversed", s.input_reversed);
    visit("output_reversed", s.output_reversed);
    visit("body", s.body);
  }
};

}  // namespace lathe
