// The register tile of every convolution: a block of output pixels times a block of output channels, whose whole
// reduction stays in registers. It is an indirect GEMM: the input is channels-last, and a pixel's operand is a list of
// contiguous runs ("segments": one filter row, or one filter tap), found through pointers, so that padding, stride,
// dilation, groups and transposed convolution are only different pointer lists.
//
// Weights are panels of kVecWidth output channels: [panel][k][kVecWidth], k over all taps and input channels of a
// group.
#pragma once

#include <cstdint>

namespace lathe::cpu {

struct ConvTile {
  int rows;                       // output pixels, 1 .. ConvKernels::max_rows
  int channels;                   // output channels, 1 .. max_panels * vec_width
  int segments;                   // may be 0: the result is then bias and residual alone
  int64_t run;                    // input values in each segment
  const float* const* inputs;     // [segments][rows]: where the run of a segment starts for a pixel
  int64_t input_offset;           // floats to add to all of them: the first channel of a group
  const int64_t* weight_offsets;  // [segments], in floats from `weights`
  const float* weights;           // first panel
  int64_t panel_stride;           // floats from one panel to the next
  const char* prefetch;           // memory that a later tile needs, touched a piece at a time; must be readable
  int64_t prefetch_step;          // bytes to advance for every k
  const float* bias;              // of the first channel, or null
  const float* residual;          // added before clamping, or null
  int64_t residual_stride;        // floats between pixels
  float lower, upper;             // the result is clamped to this; NaN passes
  float* out;
  int64_t out_stride;  // floats between pixels
};

struct ConvKernels {
  int vec_width;
  int max_rows;
  int max_panels;
  void (*tile)(const ConvTile& tile) noexcept;
};

}  // namespace lathe::cpu
