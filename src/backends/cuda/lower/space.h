// The index space of an op whose operands broadcast to it. Neighbouring axes that all operands walk alike are merged
// when lowering, from the symbolic shapes; sizes and strides along what is left are filled in for each set of sizes.
#pragma once

#include <span>
#include <vector>

#include "graph/dim.h"

namespace lathe::cuda {

class BroadcastSpace {
 public:
  struct Options {
    bool merge = true;  // false for programs that ask for positions
    size_t fence = 0;   // an axis that does not merge with the one before it
  };
  BroadcastSpace(const Shape& space, const std::vector<Shape>& operands, Options options);

  size_t rank() const { return rank_; }                       // of merged axes; at least 1
  size_t merged(size_t axis) const { return merged_[axis]; }  // where an axis of the space went

  void fill_sizes(std::span<const int64_t> space, unsigned long long* sizes) const;
  // In elements; 0 where the operand repeats.
  void fill_strides(std::span<const int64_t> operand, std::span<const int64_t> space, long long* strides) const;

 private:
  std::vector<size_t> merged_;
  size_t rank_ = 1;
};

}  // namespace lathe::cuda
