// Decides how depthwise convolution walks a row: tiles of up to seven neighbouring outputs share their input loads
// (widths of common networks are multiples of seven); outputs whose window crosses the left or right border go one at a
// time.
#include "backends/cpu/kernels/depthwise_kernels.h"

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

// What all outputs of one row share.
struct Row {
  const DepthwisePlane& plane;
  const float* input;    // the input row of filter row kh_begin
  const float* weights;  // the weights of filter row kh_begin
  int64_t row_step;      // floats between the input rows of two filter rows
  int64_t filter_rows;   // filter rows that lie inside the image
  float* out;
  const float* residual;
  Vec start;
};

template <bool kRagged>
inline Vec load_channels(const float* p, const DepthwisePlane& plane) noexcept {
  return kRagged ? load_n(p, plane.channels) : load(p);
}

// Adds the residual, clamps and stores kTile outputs from `ow` on.
template <int kTile, bool kRagged>
inline void finish(const Row& row, int64_t ow, Vec (&acc)[kTile]) noexcept {
  const DepthwisePlane& plane = row.plane;
  if (row.residual != nullptr) {
    const float* residual = row.residual + ow * plane.residual_stride;
#pragma GCC unroll 8
    for (int t = 0; t < kTile; ++t, residual += plane.residual_stride) {
      acc[t] = acc[t] + load_channels<kRagged>(residual, plane);
    }
  }
  const Vec lower = splat(plane.lower), upper = splat(plane.upper);
  float* out = row.out + ow * plane.out_stride;
#pragma GCC unroll 8
  for (int t = 0; t < kTile; ++t, out += plane.out_stride) {
    const Vec v = min(upper, max(lower, acc[t]));
    if (kRagged) {
      store_n(out, v, plane.channels);
    } else {
      store(out, v);
    }
  }
}

// kTile outputs from `ow` on, all inside the image; filter width and stride are known, so each input is loaded once.
template <int kTile, int kWidth, int kStride, bool kRagged>
inline void tile_fixed(const Row& row, int64_t ow) noexcept {
  const int64_t pixel_step = row.plane.input_stride;
  Vec acc[kTile];
#pragma GCC unroll 8
  for (int t = 0; t < kTile; ++t) acc[t] = row.start;
  const float* in = row.input + (ow * kStride - row.plane.pad_w) * pixel_step;
  const float* w = row.weights;
  for (int64_t kh = 0; kh < row.filter_rows; ++kh, in += row.row_step, w += kWidth * kVecWidth) {
    Vec taps[kWidth];
#pragma GCC unroll 8
    for (int k = 0; k < kWidth; ++k) taps[k] = load(w + k * kVecWidth);
    const float* pixel = in;
#pragma GCC unroll 32
    for (int j = 0; j < (kTile - 1) * kStride + kWidth; ++j, pixel += pixel_step) {
      const Vec x = load_channels<kRagged>(pixel, row.plane);
#pragma GCC unroll 8
      for (int t = 0; t < kTile; ++t) {
        const int k = j - t * kStride;
        if (k >= 0 && k < kWidth) acc[t] = fma(x, taps[k], acc[t]);
      }
    }
  }
  finish<kTile, kRagged>(row, ow, acc);
}

// The same for any filter width, stride and dilation.
template <int kTile, bool kRagged>
inline void tile_any(const Row& row, int64_t ow) noexcept {
  const DepthwisePlane& plane = row.plane;
  Vec acc[kTile];
#pragma GCC unroll 8
  for (int t = 0; t < kTile; ++t) acc[t] = row.start;
  const int64_t tap_step = plane.dilation_w * plane.input_stride;
  const int64_t pixel_step = plane.stride_w * plane.input_stride;
  const float* in = row.input + (ow * plane.stride_w - plane.pad_w) * plane.input_stride;
  const float* w = row.weights;
  for (int64_t kh = 0; kh < row.filter_rows; ++kh, in += row.row_step) {
    for (int64_t kw = 0; kw < plane.kernel_w; ++kw, w += kVecWidth) {
      const Vec tap = load(w);
      const float* pixel = in + kw * tap_step;
#pragma GCC unroll 8
      for (int t = 0; t < kTile; ++t, pixel += pixel_step) {
        acc[t] = fma(load_channels<kRagged>(pixel, plane), tap, acc[t]);
      }
    }
  }
  finish<kTile, kRagged>(row, ow, acc);
}

inline int64_t at_least(int64_t a, int64_t b) noexcept { return a > b ? a : b; }
inline int64_t at_most(int64_t a, int64_t b) noexcept { return a < b ? a : b; }
inline int64_t ceil_div(int64_t a, int64_t b) noexcept { return a <= 0 ? 0 : (a + b - 1) / b; }

template <bool kRagged>
inline void border(const Row& row, int64_t ow) noexcept {
  const DepthwisePlane& plane = row.plane;
  const int64_t left = ow * plane.stride_w - plane.pad_w;
  const int64_t kw_begin = at_most(plane.kernel_w, ceil_div(-left, plane.dilation_w));
  const int64_t kw_end = at_most(plane.kernel_w, ceil_div(plane.in_width - left, plane.dilation_w));
  const int64_t tap_step = plane.dilation_w * plane.input_stride;
  const float* in = row.input + (left + kw_begin * plane.dilation_w) * plane.input_stride;
  const float* w = row.weights + kw_begin * kVecWidth;
  Vec acc[1] = {row.start};
  for (int64_t kh = 0; kh < row.filter_rows; ++kh, in += row.row_step, w += plane.kernel_w * kVecWidth) {
    for (int64_t kw = 0; kw < kw_end - kw_begin; ++kw) {
      acc[0] = fma(load_channels<kRagged>(in + kw * tap_step, plane), load(w + kw * kVecWidth), acc[0]);
    }
  }
  finish<1, kRagged>(row, ow, acc);
}

// kWidth 0 stands for any filter width, stride and dilation.
template <int kTile, int kWidth, int kStride, bool kRagged>
inline int64_t tiles(const Row& row, int64_t ow, int64_t end) noexcept {
  for (; ow + kTile <= end; ow += kTile) {
    if constexpr (kWidth == 0) {
      tile_any<kTile, kRagged>(row, ow);
    } else {
      tile_fixed<kTile, kWidth, kStride, kRagged>(row, ow);
    }
  }
  return ow;
}

template <int kWidth, int kStride, bool kRagged>
void run_row(const Row& row) noexcept {
  const DepthwisePlane& plane = row.plane;
  const int64_t reach = (plane.kernel_w - 1) * plane.dilation_w;
  const int64_t inside_begin = at_most(ceil_div(plane.pad_w, plane.stride_w), plane.out_width);
  const int64_t last_start = plane.in_width - 1 - reach + plane.pad_w;  // of a window that ends inside
  const int64_t inside_end =
      at_least(inside_begin, at_most(plane.out_width, last_start < 0 ? 0 : last_start / plane.stride_w + 1));
  int64_t ow = 0;
  for (; ow < inside_begin; ++ow) border<kRagged>(row, ow);
  ow = tiles<7, kWidth, kStride, kRagged>(row, ow, inside_end);
  ow = tiles<4, kWidth, kStride, kRagged>(row, ow, inside_end);
  ow = tiles<2, kWidth, kStride, kRagged>(row, ow, inside_end);
  ow = tiles<1, kWidth, kStride, kRagged>(row, ow, inside_end);
  for (; ow < plane.out_width; ++ow) border<kRagged>(row, ow);
}

template <int kWidth, int kStride, bool kRagged>
void run_rows(const DepthwisePlane& plane) noexcept {
  const Vec start = plane.bias == nullptr ? zero() : load_n(plane.bias, plane.channels);
  for (int64_t oh = plane.row_begin; oh < plane.row_end; ++oh) {
    const int64_t top = oh * plane.stride_h - plane.pad_h;
    const int64_t kh_begin = at_most(plane.kernel_h, ceil_div(-top, plane.dilation_h));
    const int64_t kh_end = at_most(plane.kernel_h, ceil_div(plane.in_height - top, plane.dilation_h));
    const int64_t first_row = top + kh_begin * plane.dilation_h;
    const int64_t first_out = oh * plane.out_width;
    const Row row = {plane,
                     plane.input + first_row * plane.in_width * plane.input_stride,
                     plane.weights + kh_begin * plane.kernel_w * kVecWidth,
                     plane.dilation_h * plane.in_width * plane.input_stride,
                     at_least(0, kh_end - kh_begin),
                     plane.out + first_out * plane.out_stride,
                     plane.residual == nullptr ? nullptr : plane.residual + first_out * plane.residual_stride,
                     start};
    run_row<kWidth, kStride, kRagged>(row);
  }
}

template <bool kRagged>
void dispatch(const DepthwisePlane& plane) noexcept {
  const int64_t width = plane.dilation_w == 1 ? plane.kernel_w : 0;
  if (width == 3 && plane.stride_w == 1) return run_rows<3, 1, kRagged>(plane);
  if (width == 3 && plane.stride_w == 2) return run_rows<3, 2, kRagged>(plane);
  if (width == 5 && plane.stride_w == 1) return run_rows<5, 1, kRagged>(plane);
  if (width == 5 && plane.stride_w == 2) return run_rows<5, 2, kRagged>(plane);
  run_rows<0, 0, kRagged>(plane);
}

void run_plane(const DepthwisePlane& plane) noexcept {
  plane.channels == kVecWidth ? dispatch<false>(plane) : dispatch<true>(plane);
}

}  // namespace

const DepthwiseKernels& depthwise() {
  static constexpr DepthwiseKernels kKernels = {kVecWidth, run_plane};
  return kKernels;
}

}  // namespace lathe::cpu::LATHE_ISA
