#include "checkpoint/relative_positions.h"

#include <algorithm>
#include <cmath>

namespace lathe::checkpoint {

int64_t RelativeBuckets::bucket(int64_t offset) const {
  const int64_t count = both_ways ? buckets / 2 : buckets, exact = count / 2;
  const int64_t first = both_ways && offset > 0 ? count : 0;
  const int64_t distance = both_ways ? std::abs(offset) : std::max<int64_t>(-offset, 0);
  if (distance < exact) return first + distance;
  // In fp32, since models are trained with the limits that its rounding gives.
  const auto wide = static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact)));
  const float part = std::log(static_cast<float>(distance) / static_cast<float>(exact)) / wide;
  return first + std::min(count - 1, exact + static_cast<int64_t>(part * static_cast<float>(count - exact)));
}

}  // namespace lathe::checkpoint
