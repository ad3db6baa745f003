// Interpolation to another spatial size.
#pragma once

#include "graph/ops/field_types.h"

namespace lathe {

enum class ResizeMode : uint8_t { nearest, linear, cubic };
enum class ResizeCoordinates : uint8_t {
  half_pixel,
  half_pixel_symmetric,
  pytorch_half_pixel,
  align_corners,
  asymmetric,
  tf_crop_and_resize
};
enum class ResizeNearest : uint8_t { round_prefer_floor, round_prefer_ceil, floor, ceil };

// (x, scales f32 [axes]?) -> y with sizes[i] elements along axes[i]. Scales are output / input as the model gave them:
// the operand, where only the run knows them, or the field, in which an entry of 0 means that the ratio of the sizes is
// to be used; they steer coordinates, not sizes. roi holds starts then ends per axis, for tf_crop_and_resize.
struct Resize {
  static constexpr std::string_view kName = "resize";
  ResizeMode mode = ResizeMode::nearest;
  ResizeCoordinates coordinates = ResizeCoordinates::half_pixel;
  ResizeNearest nearest = ResizeNearest::round_prefer_floor;
  std::vector<int64_t> axes;
  Shape sizes;
  std::vector<double> scales;
  std::vector<double> roi;
  double cubic_coefficient = -0.75;
  bool exclude_outside = false;
  bool antialias = false;
  double extrapolation_value = 0;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("mode", s.mode);
    visit("coordinates", s.coordinates);
    visit("nearest", s.nearest);
    visit("axes", s.axes);
    visit("sizes", s.sizes);
    visit("scales", s.scales);
    visit("roi", s.roi);
    visit("cubic_coefficient", s.cubic_coefficient);
    visit("exclude_outside", s.exclude_outside);
    visit("antialias", s.antialias);
    visit("extrapolation_value", s.extrapolation_value);
  }
};

}  // namespace lathe
