// Depthwise convolution of one panel of channels (at most vec_width) over rows of one channels-last image: every lane
// is a channel, so there is no reduction over channels and no broadcast.
//
// Weights of a panel: [kernel_h][kernel_w][kVecWidth].
#pragma once

#include <cstdint>

namespace lathe::cpu {

struct DepthwisePlane {
  int channels;        // 1 .. vec_width
  const float* input;  // the image at the panel's first channel
  int64_t input_stride, in_height, in_width;
  const float* weights;
  int64_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w;
  const float* bias;      // of the panel, or null
  const float* residual;  // as `out`, or null; added before clamping
  int64_t residual_stride;
  float lower, upper;
  float* out;  // the output image at the panel's first channel
  int64_t out_stride, out_width;
  int64_t row_begin, row_end;  // output rows to compute
};

struct DepthwiseKernels {
  int vec_width;
  void (*plane)(const DepthwisePlane& plane) noexcept;
};

}  // namespace lathe::cpu
