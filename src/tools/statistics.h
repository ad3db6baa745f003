// What a series of measurements comes to.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

namespace lathe::tools {

struct Summary {
  size_t count = 0;
  double min = 0, mean = 0, median = 0, p90 = 0, p95 = 0, p99 = 0, max = 0;
};

// Interpolates linearly between the two samples around rank fraction * (n - 1), as NumPy does. `sorted` is ascending
// and not empty; `fraction` lies in [0, 1].
double percentile(std::span<const double> sorted, double fraction);

// These, too, are zero for no samples.
double mean(std::span<const double> samples);
double deviation(std::span<const double> samples);  // standard
double median(std::vector<double> samples);
Summary summarise(std::vector<double> samples);

// {"count": .., "min": .., "mean": .., "median": .., "p90": .., "p95": .., "p99": .., "max": ..}
nlohmann::json to_json(const Summary& summary);

}  // namespace lathe::tools
