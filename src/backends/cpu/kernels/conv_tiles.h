// Cuts the output pixels of a convolution into register tiles and finds, for each tile, where the input of every filter
// tap lies. This is all that distinguishes plain, strided, dilated, padded, grouped and transposed convolution; the
// arithmetic is the same tile kernel for all. T is what counts as a channel: a float, or four bytes of a quantised
// tensor.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/conv.h"

namespace lathe::cpu {

struct TilePixels {
  int rows = 0;      // 0: nothing to compute
  int segments = 0;  // runs of input per pixel
  int64_t run = 0;
  int64_t first_pixel = 0, pixel_step = 1;  // in the flat order of output pixels [batch, d, h, w]
};

template <class T>
class ConvTiles {
 public:
  // `input_stride`: T between input pixels. The number of tiles is a multiple of `parts` where there is work for
  // it.
  ConvTiles(const ConvShape& shape, int64_t input_stride, int vec_width, int max_rows, int parts);

  int64_t count() const { return count_; }

  // Pointers that fill() may write, and zeros that padding may read.
  static int64_t max_segments(const ConvShape& shape);
  static int64_t max_run(const ConvShape& shape);

  // `input` is the first image at the first channel, `zeros` stands for pixels in the padding. Writes
  // inputs[segment][row] for the first group, and the segments' offsets into a panel of weights.
  TilePixels fill(int64_t tile, const T* input, const T* zeros, const T** inputs, int64_t* weight_offsets) const;

 private:
  TilePixels fill_pointwise(int64_t tile, const T* input, const T** inputs, int64_t* weight_offsets) const;
  TilePixels fill_direct(int64_t tile, const T* input, const T* zeros, const T** inputs, int64_t* weight_offsets) const;
  TilePixels fill_transposed(int64_t tile, const T* input, const T* zeros, const T** inputs,
                             int64_t* weight_offsets) const;

  const ConvShape& shape_;
  int64_t input_stride_;
  int64_t group_channels_;
  int64_t tap_size_;  // T of one tap in a panel of weights
  int64_t pixels_;    // direct: output pixels in all
  int64_t chunks_;    // transposed: tiles per phase of an output row
  int64_t count_;
  bool pointwise_;
};

}  // namespace lathe::cpu
