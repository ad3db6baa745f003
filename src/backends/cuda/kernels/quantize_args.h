// The argument of the kernels that quantise with parameters from the data.
#pragma once

struct QuantizeArgs {
  const void* input;
  void* output;
  float* scales;  // of rows; null where nobody asks, as the zero points
  void* zeros;
  long long rows, width;
  float* ranges;  // quantize_tensor.cu: least and greatest of each block's part
  int parts;
};
