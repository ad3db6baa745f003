// How far one tensor is from another that counts as right. Floats pass when |value - expected| <= atol + rtol *
// |expected| everywhere; integers, bools and strings must be equal. Two NaNs are equal, so are two infinities of one
// sign; any other meeting of a NaN or an infinity is a mismatch that no tolerance forgives.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "graph/tensor.h"

namespace lathe::tools {

struct Tolerance {
  double atol = 1e-4;
  double rtol = 1e-3;
};

// What rounding between steps costs in the type: loose for 16-bit floats.
Tolerance default_tolerance(DType type);

struct Comparison {
  std::string incomparable;  // why nothing was compared: types or sizes differ; empty otherwise
  int64_t elements = 0;
  int64_t failed = 0;               // elements out of tolerance
  int64_t mismatched = 0;           // of those, NaN or infinity against something else
  double max_abs = 0, max_rel = 0;  // over the finite pairs; relative to |expected|, where that is not 0
  double cosine = 1;                // of the two as vectors; 1 for two zero vectors
  double smallest_tolerance = 0;    // t such that atol = rtol = t would pass; infinite when nothing would
  double range = 0;                 // largest finite |expected|
  int64_t worst = -1;               // row-major index of the element furthest out of tolerance, or with max_abs

  bool passed() const { return incomparable.empty() && failed == 0; }
  // The looser question that is asked of values inside a model: is the largest error small beside the largest number?
  // Single elements near zero, left over when large ones cancel, do not count.
  bool drifted(const Tolerance& tolerance) const {
    return incomparable.empty() && (mismatched > 0 || max_abs > tolerance.atol + tolerance.rtol * range);
  }
};

// Types may differ as long as both are floats or both are integers.
Comparison compare(const Tensor& expected, const Tensor& value, const Tolerance& tolerance);

nlohmann::json to_json(const Comparison& comparison);

}  // namespace lathe::tools
