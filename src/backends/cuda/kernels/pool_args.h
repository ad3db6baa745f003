// The argument of the pooling kernel. Spatial axes are three; missing leading ones have size 1.
#pragma once

struct PoolArgs {
  const void* input;
  void* output;
  long long* indices;        // of maxima; null when nobody asked
  unsigned long long packs;  // threads that have work
  long long channels;        // channels last; else 1, and planes are counted by `packs`
  int in[3], out[3], kernel[3], stride[3], dilation[3], pad[3], pad_end[3];
  int include_pad, column_major;
  float p;
};
