// Convolutions of any spatial rank.
#pragma once

#include "graph/map_program.h"
#include "graph/ops/field_types.h"

namespace lathe {

// (x [N, C, spatial..], w [M, C / groups, kernel..], extras..) -> y [N, M, spatial..]. pads holds all begins, then all
// ends. A bias is an extra of shape [M, 1, ..]. `epilogue` and the types of operands are as in MatMul.
// channels_last: x, y and extras of full rank are [N, spatial.., C] (set by the layout pass; w stays as above), but x
// stays [N, C, spatial..] with channels_first_input: the first convolution of a network reads its image as it comes.
// pad_value is what stands around x: the zero point of quantised activations.
struct Conv {
  static constexpr std::string_view kName = "conv";
  std::vector<int64_t> strides;
  std::vector<int64_t> dilations;
  Shape pads;
  double pad_value = 0;
  int64_t groups = 1;
  bool channels_last = false;
  bool channels_first_input = false;
  MapProgram epilogue;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("strides", s.strides);
    visit("dilations", s.dilations);
    visit("pads", s.pads);
    visit("pad_value", s.pad_value);
    visit("groups", s.groups);
    visit("channels_last", s.channels_last);
    visit("channels_first_input", s.channels_first_input);
    visit("epilogue", s.epilogue);
  }
};

// (x [N, C, spatial..], w [C, M / groups, kernel..], extras..) -> y [N, M, spatial..] with
// out = (in - 1) * stride + output_padding + (kernel - 1) * dilation + 1 - pad_begin - pad_end.
// channels_last as in Conv.
struct ConvTranspose {
  static constexpr std::string_view kName = "conv_transpose";
  std::vector<int64_t> strides;
  std::vector<int64_t> dilations;
  Shape pads;
  std::vector<int64_t> output_padding;
  int64_t groups = 1;
  bool channels_last = false;
  MapProgram epilogue;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("strides", s.strides);
    visit("dilations", s.dilations);
    visit("pads", s.pads);
    visit("output_padding", s.output_padding);
    visit("groups", s.groups);
    visit("channels_last", s.channels_last);
    visit("epilogue", s.epilogue);
  }
};

}  // namespace lathe
