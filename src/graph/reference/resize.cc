// Interpolation. All modes are separable: along each axis an output element is a weighted sum of input elements.
#include <algorithm>
#include <cmath>

#include "graph/reference/families.h"
#include "graph/reference/indexing.h"

namespace lathe::reference {
namespace {

struct AxisGeometry {
  int64_t in = 0, out = 0;
  double scale = 1;  // output / input
  double roi_start = 0, roi_end = 1;
};

struct Tap {
  int64_t position = 0;
  double weight = 0;
};

// What one output element along an axis is made of.
struct Taps {
  std::vector<Tap> taps;
  bool outside = false;  // of the region of interest: the extrapolation value stands there
};

// The place in the input, in elements, that output element i is taken from.
double input_coordinate(ResizeCoordinates mode, const AxisGeometry& axis, int64_t i) {
  const auto x = static_cast<double>(i), in = static_cast<double>(axis.in), out = static_cast<double>(axis.out);
  switch (mode) {
    case ResizeCoordinates::half_pixel: return (x + 0.5) / axis.scale - 0.5;
    case ResizeCoordinates::half_pixel_symmetric: {
      const double adjustment = out / (axis.scale * in);  // of a size that is not exactly scale * input
      return in / 2 * (1 - adjustment) + (x + 0.5) / axis.scale - 0.5;
    }
    case ResizeCoordinates::pytorch_half_pixel: return axis.out > 1 ? (x + 0.5) / axis.scale - 0.5 : 0;
    case ResizeCoordinates::align_corners: return axis.out > 1 ? x * (in - 1) / (axis.scale * in - 1) : 0;
    case ResizeCoordinates::asymmetric: return x / axis.scale;
    case ResizeCoordinates::tf_crop_and_resize: break;
  }
  const double extent = (axis.roi_end - axis.roi_start) * (in - 1);
  return axis.out > 1 ? axis.roi_start * (in - 1) + x * extent / (out - 1)
                      : 0.5 * (axis.roi_start + axis.roi_end) * (in - 1);
}

int64_t nearest(ResizeNearest mode, double x) {
  switch (mode) {
    case ResizeNearest::round_prefer_floor: return static_cast<int64_t>(std::ceil(x - 0.5));
    case ResizeNearest::round_prefer_ceil: return static_cast<int64_t>(std::floor(x + 0.5));
    case ResizeNearest::floor: return static_cast<int64_t>(std::floor(x));
    case ResizeNearest::ceil: break;
  }
  return static_cast<int64_t>(std::ceil(x));
}

// Weight at a distance: a triangle, or the cubic convolution kernel (R. Keys, 1981) with coefficient a.
double kernel(ResizeMode mode, double a, double distance) {
  const double t = std::abs(distance);
  if (mode == ResizeMode::linear) return std::max(1 - t, 0.0);
  if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

Taps taps_at(const Resize& op, const AxisGeometry& axis, int64_t i) {
  const double x = input_coordinate(op.coordinates, axis, i);
  Taps result;
  result.outside =
      op.coordinates == ResizeCoordinates::tf_crop_and_resize && (x < 0 || x > static_cast<double>(axis.in - 1));
  const auto inside = [&](int64_t position) { return std::clamp<int64_t>(position, 0, axis.in - 1); };
  if (op.mode == ResizeMode::nearest) {
    result.taps.push_back({inside(nearest(op.nearest, x)), 1});
    return result;
  }
  const double shrink = op.antialias ? std::min(axis.scale, 1.0) : 1;  // a kernel that is wider by 1 / shrink
  const double reach = (op.mode == ResizeMode::linear ? 1 : 2) / shrink;
  double sum = 0;
  for (auto p = static_cast<int64_t>(std::floor(x - reach)); static_cast<double>(p) <= x + reach; ++p) {
    if (op.exclude_outside && (p < 0 || p >= axis.in)) continue;
    const double weight = kernel(op.mode, op.cubic_coefficient, (static_cast<double>(p) - x) * shrink);
    if (weight == 0) continue;
    result.taps.push_back({inside(p), weight});
    sum += weight;
  }
  if (op.antialias || op.exclude_outside)
    for (Tap& tap : result.taps) tap.weight /= sum;
  return result;
}

// Interpolates along one axis; `outside` collects which elements of the result lie outside of the region of interest.
std::vector<double> resize_axis(const std::vector<double>& x, const AxisSplit& split, const std::vector<Taps>& taps) {
  std::vector<double> y;
  y.reserve(static_cast<size_t>(split.outer * split.inner) * taps.size());
  for (int64_t outer = 0; outer < split.outer; ++outer) {
    for (const Taps& element : taps) {
      for (int64_t inner = 0; inner < split.inner; ++inner) {
        double sum = 0;
        for (const Tap& tap : element.taps)
          sum += tap.weight * x[static_cast<size_t>((outer * split.size + tap.position) * split.inner + inner)];
        y.push_back(sum);
      }
    }
  }
  return y;
}

void extrapolate(std::vector<double>& y, const AxisSplit& split, const std::vector<Taps>& taps, double value) {
  for (int64_t outer = 0; outer < split.outer; ++outer)
    for (int64_t i = 0; i < split.size; ++i)
      if (taps[static_cast<size_t>(i)].outside)
        for (int64_t inner = 0; inner < split.inner; ++inner)
          y[static_cast<size_t>((outer * split.size + i) * split.inner + inner)] = value;
}

std::vector<double> scales_of(const Resize& op, const Call& call) {
  if (!call.has(1)) return op.scales;
  std::vector<double> scales = read_wide<double>(call.tensor(1));
  if (scales.size() != op.axes.size())
    fail(ErrorCode::invalid_argument, "{} scales for {} axes", scales.size(), op.axes.size());
  for (const double scale : scales)
    if (!(scale > 0)) fail(ErrorCode::invalid_argument, "the scale {} is not positive", scale);
  return scales;
}

AxisGeometry geometry(const Resize& op, size_t i, double scale, int64_t in, int64_t out) {
  AxisGeometry axis;
  axis.in = in;
  axis.out = out;
  axis.scale = scale > 0 ? scale : static_cast<double>(out) / static_cast<double>(in);
  if (op.coordinates == ResizeCoordinates::tf_crop_and_resize) {
    if (op.roi.size() != 2 * op.axes.size())
      fail(ErrorCode::invalid_model, "a region of interest of {} numbers for {} axes", op.roi.size(), op.axes.size());
    axis.roi_start = op.roi[i];
    axis.roi_end = op.roi[op.axes.size() + i];
  }
  return axis;
}

}  // namespace

std::vector<RefValue> evaluate(const Resize& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  const Sizes wanted = call.symbols.evaluate(op.sizes);
  if (wanted.size() != op.axes.size())
    fail(ErrorCode::invalid_model, "{} sizes for {} axes", wanted.size(), op.axes.size());
  const std::vector<double> scales = scales_of(op, call);
  Sizes sizes = x.dims();
  std::vector<double> values = read_wide<double>(x);
  std::vector<std::vector<Taps>> taps(op.axes.size());
  for (size_t i = 0; i < op.axes.size(); ++i) {
    const size_t axis = resolve_axis(op.axes[i], x.rank());
    const AxisSplit split(sizes, axis);
    if (split.size == 0 && wanted[i] > 0)
      fail(ErrorCode::invalid_argument, "axis {} of shape {} has nothing to interpolate", axis, to_string(x.dims()));
    const AxisGeometry along = geometry(op, i, i < scales.size() ? scales[i] : 0, split.size, wanted[i]);
    for (int64_t o = 0; o < wanted[i]; ++o) taps[i].push_back(taps_at(op, along, o));
    values = resize_axis(values, split, taps[i]);
    sizes[axis] = wanted[i];
  }
  for (size_t i = 0; i < op.axes.size(); ++i)
    extrapolate(values, AxisSplit(sizes, resolve_axis(op.axes[i], x.rank())), taps[i], op.extrapolation_value);
  if (is_float(x.dtype())) return {write_wide(x.dtype(), std::move(sizes), values)};
  std::vector<int64_t> integers;  // truncated, and saturated where cubic interpolation overshoots
  const IntRange range = range_of(x.dtype());
  for (const double v : values)
    integers.push_back(
        static_cast<int64_t>(std::clamp(v, static_cast<double>(range.low), static_cast<double>(range.high))));
  return {write_wide(x.dtype(), std::move(sizes), integers)};
}

}  // namespace lathe::reference
