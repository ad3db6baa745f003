#include "precision/histogram.h"

#include <algorithm>
#include <cmath>

namespace lathe::precision {
namespace {

constexpr double kKept = 0.9999;  // of the elements, by the percentile calibrator
constexpr size_t kMagnitudes = Histogram::kBins / 2;
constexpr size_t kLevels = 128;  // magnitudes that a signed byte has
constexpr int kMseSteps = 100;   // ranges that the calibrator of least squares tries

// Counts of |x|, the sign put away.
std::vector<double> magnitudes(const Histogram& histogram) {
  std::vector<double> counts(kMagnitudes);
  for (size_t i = 0; i < kMagnitudes; ++i)
    counts[i] = static_cast<double>(histogram.bins()[kMagnitudes + i] + histogram.bins()[kMagnitudes - 1 - i]);
  return counts;
}

Range clipped(const Histogram& histogram, double threshold) {
  return {std::max(histogram.low(), -threshold), std::min(histogram.high(), threshold)};
}

Range percentile_range(const Histogram& histogram) {
  const double outside = (1 - kKept) / 2 * static_cast<double>(histogram.total());
  const auto bins = histogram.bins();
  Range range{histogram.low(), histogram.high()};
  double passed = 0;
  for (size_t i = 0; i < bins.size(); ++i) {
    passed += static_cast<double>(bins[i]);
    if (passed <= outside) continue;
    range.low = std::max(range.low, histogram.center(i) - histogram.width() / 2);
    break;
  }
  passed = 0;
  for (size_t i = bins.size(); i-- > 0;) {
    passed += static_cast<double>(bins[i]);
    if (passed <= outside) continue;
    range.high = std::min(range.high, histogram.center(i) + histogram.width() / 2);
    break;
  }
  return range;
}

// Divergence of the first `used` bins, with what lies beyond put into the last, from their kLevels-level version.
double divergence(std::span<const double> counts, size_t used) {
  double beyond = 0, total = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    total += counts[i];
    if (i >= used) beyond += counts[i];
  }
  const auto reference = [&](size_t i) { return counts[i] + (i + 1 == used ? beyond : 0); };
  double sum = 0;
  for (size_t level = 0; level < kLevels; ++level) {
    const size_t begin = level * used / kLevels, end = (level + 1) * used / kLevels;
    double in_level = 0;
    size_t filled = 0;
    for (size_t i = begin; i < end; ++i) {
      in_level += counts[i];
      filled += reference(i) > 0 ? 1 : 0;
    }
    for (size_t i = begin; i < end; ++i) {
      const double p = reference(i) / total;
      if (p <= 0) continue;
      const double q = in_level / static_cast<double>(filled) / (total - beyond);
      constexpr double kEmpty = 1e-9;  // what stands for a level that holds nothing
      sum += p * std::log(p / std::max(q, kEmpty));
    }
  }
  return sum;
}

Range entropy_range(const Histogram& histogram) {
  const std::vector<double> counts = magnitudes(histogram);
  size_t last = kMagnitudes;
  while (last > kLevels && counts[last - 1] == 0) --last;
  constexpr size_t kStride = 8;
  size_t best = last;
  double least = divergence(counts, last);
  for (size_t used = kLevels; used < last; used += kStride) {
    const double found = divergence(counts, used);
    if (found < least) {
      least = found;
      best = used;
    }
  }
  return clipped(histogram, static_cast<double>(best) * histogram.width());
}

// The expected squared error of rounding to steps inside the range and of clipping outside.
double squared_error(const Histogram& histogram, Range range, double step) {
  double sum = 0;
  const auto bins = histogram.bins();
  for (size_t i = 0; i < bins.size(); ++i) {
    if (bins[i] == 0) continue;
    const double x = histogram.center(i), clip = x - std::clamp(x, range.low, range.high);
    sum += static_cast<double>(bins[i]) * (clip == 0 ? step * step / 12 : clip * clip);
  }
  return sum;
}

Range mse_range(const Histogram& histogram, bool asymmetric) {
  const double most = std::max(-histogram.low(), histogram.high());
  Range best{histogram.low(), histogram.high()};
  double least = -1;
  for (int i = kMseSteps; i > 0; --i) {
    const Range range = clipped(histogram, most * i / kMseSteps);
    const double low = std::min(range.low, 0.0), high = std::max(range.high, 0.0);
    const double step = asymmetric ? (high - low) / 255 : std::max(-low, high) / 127;
    const double found = squared_error(histogram, range, step);
    if (least >= 0 && found >= least) continue;
    least = found;
    best = range;
  }
  return best;
}

}  // namespace

void Histogram::grow(double limit) {
  if (limit_ == 0) {
    limit_ = limit > 0 ? limit : 0;
    return;
  }
  while (limit_ < limit) {
    // Two old bins make one new one; the old ones take the middle half.
    std::vector<int64_t> wider(kBins);
    for (size_t i = 0; i < kBins; ++i) wider[kBins / 4 + i / 2] += bins_[i];
    bins_ = std::move(wider);
    limit_ *= 2;
  }
}

void Histogram::add(std::span<const float> values) {
  double low = 0, high = 0;
  bool first = total_ == 0;
  for (const float x : values) {
    if (!std::isfinite(x)) continue;
    low = first ? x : std::min(low, static_cast<double>(x));
    high = first ? x : std::max(high, static_cast<double>(x));
    first = false;
  }
  if (first && total_ == 0) {
    not_finite_ += static_cast<int64_t>(values.size());
    return;
  }
  low_ = total_ == 0 ? low : std::min(low_, low);
  high_ = total_ == 0 ? high : std::max(high_, high);
  grow(std::max(std::abs(low), std::abs(high)));
  const double per_unit = limit_ > 0 ? kBins / (2 * limit_) : 0;
  for (const float x : values) {
    if (!std::isfinite(x)) {
      ++not_finite_;
      continue;
    }
    const double at = (static_cast<double>(x) + limit_) * per_unit;
    ++bins_[std::min(static_cast<size_t>(std::max(at, 0.0)), kBins - 1)];
    ++total_;
  }
}

Range calibrated_range(const Histogram& histogram, Calibrator calibrator, bool asymmetric) {
  if (histogram.empty()) return {};
  switch (calibrator) {
    case Calibrator::entropy: return entropy_range(histogram);
    case Calibrator::percentile: return percentile_range(histogram);
    case Calibrator::mse: return mse_range(histogram, asymmetric);
    default: return {histogram.low(), histogram.high()};
  }
}

}  // namespace lathe::precision
