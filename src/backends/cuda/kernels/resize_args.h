// The argument of the interpolation kernel. The tensor is seen as g0 x a0 x g1 x a1 .. x gn: resized axes a, and
// between them groups g of axes that stay as they are.
#pragma once

constexpr int kResizeMaxAxes = 3;

struct ResizeAxis {
  int in, out;
  double scale;               // output / input
  double roi_start, roi_end;  // of tf_crop_and_resize
  long long stride;           // in the input, in elements
};

struct ResizeArgs {
  const void* input;
  void* output;
  unsigned long long packs;  // threads that have work
  ResizeAxis axes[kResizeMaxAxes];
  unsigned long long groups[kResizeMaxAxes + 1];  // sizes
  long long group_strides[kResizeMaxAxes + 1];    // in the input
  double cubic_coefficient, extrapolation_value;
};
