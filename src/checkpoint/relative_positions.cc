#include "checkpoint/relative_positions.h"

#include <algorithm>
#include <cmath>

#include "graph/build.h"

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

int64_t LogBuckets::row(int64_t offset) const {
  const int64_t distance = std::abs(offset), exact = buckets / 2;
  int64_t bucket = offset;
  if (buckets > 0 && distance > exact) {
    // In fp32, as above.
    const auto limit = static_cast<float>(static_cast<double>(max_distance - 1) / static_cast<double>(exact));
    const float part = std::log(static_cast<float>(distance) / static_cast<float>(exact)) / std::log(limit);
    bucket = exact + static_cast<int64_t>(std::ceil(part * static_cast<float>(exact - 1)));
    if (offset < 0) bucket = -bucket;
  }
  return std::clamp(bucket + span(), int64_t{0}, 2 * span() - 1);
}

Value* by_distance(Graph& graph, Value* rows, const Dim& sequence, int64_t reach) {
  MapProgram which;
  const int offset = which.binary(MapOp::sub, which.iota(-1), which.iota(-2));
  const int low = which.binary(MapOp::max, offset, which.constant_int(-reach, DType::i64));
  const int near = which.binary(MapOp::min, low, which.constant_int(reach, DType::i64));
  which.finish(which.binary(MapOp::add, near, which.constant_int(reach, DType::i64)));
  return graph.emit(Gather{0}, {rows, graph.emit(Map{which, Shape{sequence, sequence}}, {})});
}

}  // namespace lathe::checkpoint
