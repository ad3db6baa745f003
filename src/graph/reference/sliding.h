// The geometry of sliding windows in any number of spatial axes, for convolution and pooling. Work is done tap by tap:
// for one position in the window, all pairs (window, element under that position) are visited, the last axis innermost.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "graph/reference/indexing.h"

namespace lathe::reference {

// Along one axis, window w lies at w * stride, and a tap of it at w * stride + shift.
struct SlidingAxis {
  int64_t windows = 0;
  int64_t elements = 0;
  int64_t stride = 1;
};

// Calls f(window, element) with flat positions for every window whose tap falls on an element.
template <class F>
void for_each_tap(std::span<const SlidingAxis> axes, std::span<const int64_t> shifts, int64_t window, int64_t element,
                  F&& f) {
  const SlidingAxis& axis = axes.front();
  const int64_t shift = shifts.front();
  const int64_t first = shift >= 0 ? 0 : (-shift + axis.stride - 1) / axis.stride;
  const int64_t last = axis.elements - 1 - shift;  // w * stride must not exceed it
  const int64_t end = last < 0 ? 0 : std::min(axis.windows, last / axis.stride + 1);
  window *= axis.windows;
  element = element * axis.elements + shift;
  if (axes.size() == 1) {
    for (int64_t w = first; w < end; ++w) f(window + w, element + w * axis.stride);
  } else {
    for (int64_t w = first; w < end; ++w)
      for_each_tap(axes.subspan(1), shifts.subspan(1), window + w, element + w * axis.stride, f);
  }
}

// Calls f(tap, shifts) for each position in the kernel, row-major, where shift = position * dilation - pad.
template <class F>
void for_each_kernel_position(std::span<const int64_t> kernel, std::span<const int64_t> dilations,
                              std::span<const int64_t> pads, F&& f) {
  const Sizes strides = row_major_strides(kernel);
  Sizes shifts(kernel.size());
  for (int64_t tap = 0; tap < product_of(kernel); ++tap) {
    for (size_t i = 0; i < kernel.size(); ++i) shifts[i] = tap / strides[i] % kernel[i] * dilations[i] - pads[i];
    f(tap, std::span<const int64_t>(shifts));
  }
}

// One entry per spatial axis, two for pads. Throws Error(invalid_model).
inline void check_spatial(size_t spatial, std::span<const int64_t> strides, std::span<const int64_t> dilations,
                          std::span<const int64_t> pads) {
  if (spatial == 0 || strides.size() != spatial || dilations.size() != spatial || pads.size() != 2 * spatial)
    fail(ErrorCode::invalid_model, "{} strides, {} dilations and {} pads for {} spatial axes", strides.size(),
         dilations.size(), pads.size(), spatial);
  const auto positive = [](int64_t x) { return x > 0; };
  if (!std::all_of(strides.begin(), strides.end(), positive) ||
      !std::all_of(dilations.begin(), dilations.end(), positive))
    fail(ErrorCode::invalid_model, "strides {} and dilations {} must be positive", to_string(strides),
         to_string(dilations));
}

}  // namespace lathe::reference
