// The coordinate rules of ONNX's Resize (onnx.ai, operator Resize, versions 10 to 19), turned into taps and weights.
#include <algorithm>
#include <cmath>

#include "backends/cpu/kernels/resize.h"
#include "base/error.h"

namespace lathe::cpu {
namespace {

struct AxisRule {
  const ResizeOptions& options;
  int64_t input, output;
  double scale, roi_start, roi_end;

  double source(int64_t out) const;
  // Antialiasing stretches the filter over as many input positions as fall on one output position.
  double stretch() const { return options.antialias && scale < 1.0 ? 1.0 / scale : 1.0; }
};

double AxisRule::source(int64_t out) const {
  const double x = static_cast<double>(out), in_size = static_cast<double>(input);
  // The reference implementation aligns the corners of an output whose size has not been rounded yet.
  const double out_size = static_cast<double>(output), exact_size = in_size * scale;
  switch (options.coordinates) {
    case ResizeCoordinates::half_pixel: return (x + 0.5) / scale - 0.5;
    case ResizeCoordinates::half_pixel_symmetric: {
      const double adjustment = out_size / exact_size, centre = in_size / 2.0;
      return centre * (1.0 - adjustment) + (x + 0.5) / scale - 0.5;
    }
    case ResizeCoordinates::pytorch_half_pixel: return output > 1 ? (x + 0.5) / scale - 0.5 : 0.0;
    case ResizeCoordinates::align_corners: return output > 1 ? x * (in_size - 1.0) / (exact_size - 1.0) : 0.0;
    case ResizeCoordinates::asymmetric: return x / scale;
    case ResizeCoordinates::tf_half_pixel_for_nn: return (x + 0.5) / scale;
    case ResizeCoordinates::tf_crop_and_resize:
      if (output > 1) {
        return roi_start * (in_size - 1.0) + x * (roi_end - roi_start) * (in_size - 1.0) / (out_size - 1.0);
      }
      return 0.5 * (roi_start + roi_end) * (in_size - 1.0);
  }
  return 0.0;
}

int64_t nearest(ResizeRounding rounding, double x) {
  switch (rounding) {
    case ResizeRounding::round_prefer_floor: return static_cast<int64_t>(std::ceil(x - 0.5));
    case ResizeRounding::round_prefer_ceil: return static_cast<int64_t>(std::floor(x + 0.5));
    case ResizeRounding::floor: return static_cast<int64_t>(std::floor(x));
    case ResizeRounding::ceil: return static_cast<int64_t>(std::ceil(x));
  }
  return 0;
}

// Weight of an input position at `distance` from the sampling point. Cubic: Keys' convolution kernel with parameter a.
double filter(const ResizeOptions& options, double distance) {
  const double d = std::abs(distance);
  if (options.mode == ResizeMode::linear) return std::max(0.0, 1.0 - d);
  const double a = static_cast<double>(options.cubic_a);
  if (d <= 1.0) return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
  if (d < 2.0) return ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
  return 0.0;
}

int64_t tap_count(const AxisRule& rule) {
  if (rule.options.mode == ResizeMode::nearest) return 1;
  const int64_t reach = rule.options.mode == ResizeMode::linear ? 1 : 2;
  return 2 * static_cast<int64_t>(std::ceil(static_cast<double>(reach) * rule.stretch()));
}

void fill_taps(const AxisRule& rule, double x, int64_t taps, int32_t* index, float* weight) {
  const double stretch = rule.stretch();
  const int64_t first = static_cast<int64_t>(std::floor(x)) - taps / 2 + 1;
  const bool cut = rule.options.exclude_outside;
  double sum = 0.0;
  for (int64_t t = 0; t < taps; ++t) {
    const int64_t at = first + t;
    const bool dropped = cut && (at < 0 || at >= rule.input);
    const double w = dropped ? 0.0 : filter(rule.options, (static_cast<double>(at) - x) / stretch);
    index[t] = static_cast<int32_t>(std::clamp<int64_t>(at, 0, rule.input - 1));
    weight[t] = static_cast<float>(w);
    sum += w;
  }
  if (!(cut || stretch > 1.0) || sum == 0.0) return;  // the plain filters sum to one
  for (int64_t t = 0; t < taps; ++t) weight[t] = static_cast<float>(static_cast<double>(weight[t]) / sum);
}

}  // namespace

ResizeAxis make_resize_axis(const ResizeOptions& options, int64_t input, int64_t output, double scale, double roi_start,
                            double roi_end) {
  if (output > 0 && input <= 0) fail(ErrorCode::invalid_argument, "resize: an axis of size {} cannot grow", input);
  if (!(scale > 0.0) || !std::isfinite(scale)) {
    fail(ErrorCode::invalid_argument, "resize: the scale {} is not a positive number", scale);
  }
  const AxisRule rule = {options, input, output, scale, roi_start, roi_end};
  ResizeAxis axis;
  axis.input = input;
  axis.output = output;
  axis.taps = tap_count(rule);
  const auto count = static_cast<size_t>(output * axis.taps);
  axis.index.assign(count, 0);
  axis.weight.assign(count, 1.0f);
  axis.outside.assign(static_cast<size_t>(output), 0);
  for (int64_t i = 0; i < output; ++i) {
    const double x = rule.source(i);
    const bool extrapolates = options.coordinates == ResizeCoordinates::tf_crop_and_resize;
    if (extrapolates && (x < 0.0 || x > static_cast<double>(input - 1))) axis.outside[static_cast<size_t>(i)] = 1;
    const auto at = static_cast<size_t>(i * axis.taps);
    if (options.mode == ResizeMode::nearest) {
      axis.index[at] = static_cast<int32_t>(std::clamp<int64_t>(nearest(options.rounding, x), 0, input - 1));
    } else {
      fill_taps(rule, x, axis.taps, &axis.index[at], &axis.weight[at]);
    }
  }
  return axis;
}

}  // namespace lathe::cpu
