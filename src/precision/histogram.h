// How often a value's elements had which size, and the ranges that calibrators make of that.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "precision/apply.h"
#include "precision/options.h"

namespace lathe::precision {

// Bins of equal width over [-limit, limit]; the limit doubles when a larger number comes.
class Histogram {
 public:
  static constexpr size_t kBins = 4096;

  // Numbers that are not finite are counted apart.
  void add(std::span<const float> values);

  bool empty() const { return total_ == 0; }
  double low() const { return low_; }
  double high() const { return high_; }
  int64_t not_finite() const { return not_finite_; }
  double width() const { return 2 * limit_ / kBins; }  // of a bin
  double center(size_t bin) const { return -limit_ + (static_cast<double>(bin) + 0.5) * width(); }
  std::span<const int64_t> bins() const { return bins_; }
  int64_t total() const { return total_; }

 private:
  void grow(double limit);

  std::vector<int64_t> bins_ = std::vector<int64_t>(kBins);
  double limit_ = 0, low_ = 0, high_ = 0;
  int64_t total_ = 0, not_finite_ = 0;
};

// `asymmetric`: for bytes with a zero point; else for bytes around 0. The range lies within what was seen.
Range calibrated_range(const Histogram& histogram, Calibrator calibrator, bool asymmetric);

}  // namespace lathe::precision
