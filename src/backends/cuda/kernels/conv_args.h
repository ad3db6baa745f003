// The argument of the convolution kernels, for one to three spatial axes (missing leading ones have size 1) and either
// layout: strides say where channels and pixels lie.
#pragma once

#include "epilogue_args.h"

struct ConvArgs {
  const void* input;
  const void* weights;
  void* output;
  long long pixels;                   // batch * pixels of a plane of the result
  long long plane;                    // pixels of a plane of the result
  int channels, filters;              // of the input and of the result
  int group_channels, group_filters;  // of one group
  int in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
  int taps;
  long long weight_filter, weight_channel, weight_tap;  // strides; filters and channels count within a group
  long long weight_group;
  long long in_batch, in_channel, in_pixel;     // strides of the input
  long long out_batch, out_channel, out_pixel;  // of the result
  EpilogueArgs epilogue;
};
