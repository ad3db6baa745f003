#include "tools/comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "tools/units.h"

namespace lathe::tools {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// In long double, where the square of no double overflows.
struct CosineSums {
  long double dot = 0, expected = 0, value = 0;
  void add(long double e, long double v) {
    dot += e * v;
    expected += e * e;
    value += v * v;
  }
  double result() const {
    if (expected == 0 && value == 0) return 1;
    if (expected == 0 || value == 0) return 0;
    return static_cast<double>(dot / (std::sqrt(expected) * std::sqrt(value)));
  }
};

class Accumulator {
 public:
  explicit Accumulator(const Tolerance& tolerance) : tolerance_(tolerance) {}

  void add(int64_t index, double expected, double value) {
    ++result_.elements;
    if (!std::isfinite(expected) || !std::isfinite(value)) {
      add_special(index, expected, value);
      return;
    }
    cosine_.add(expected, value);
    result_.range = std::max(result_.range, std::fabs(expected));
    const double error = std::fabs(value - expected), size = std::fabs(expected);
    result_.max_rel = std::max(result_.max_rel, size > 0 ? error / size : 0);
    result_.smallest_tolerance = std::max(result_.smallest_tolerance, error / (1 + size));
    const double excess = error - (tolerance_.atol + tolerance_.rtol * size);
    if (excess > 0) ++result_.failed;
    result_.max_abs = std::max(result_.max_abs, error);
    if (excess > worst_excess_) {
      worst_excess_ = excess;
      result_.worst = index;
    }
  }

  Comparison finish() {
    result_.cosine = cosine_.result();
    return result_;
  }

 private:
  void add_special(int64_t index, double expected, double value) {
    if ((std::isnan(expected) && std::isnan(value)) || expected == value) return;
    if (result_.mismatched++ == 0) result_.worst = index;
    ++result_.failed;
    worst_excess_ = kInfinity;
    result_.smallest_tolerance = kInfinity;
  }

  Tolerance tolerance_;
  Comparison result_;
  CosineSums cosine_;
  double worst_excess_ = -kInfinity;
};

Comparison compare_exactly(const Tensor& expected, const Tensor& value) {
  Accumulator accumulator({0, 0});
  int64_t different = 0;
  for (int64_t i = 0; i < expected.elements(); ++i) {
    const int64_t e = expected.read_int(i), v = value.read_int(i);
    accumulator.add(i, static_cast<double>(e), static_cast<double>(v));
    different += e != v ? 1 : 0;
  }
  Comparison result = accumulator.finish();
  // Large integers may differ and be equal as doubles.
  result.failed = different;
  if (different > 0) result.smallest_tolerance = kInfinity;
  return result;
}

Comparison compare_strings(const Tensor& expected, const Tensor& value) {
  Comparison result;
  result.elements = expected.elements();
  for (int64_t i = 0; i < result.elements; ++i) {
    if (expected.strings()[static_cast<size_t>(i)] == value.strings()[static_cast<size_t>(i)]) continue;
    if (result.failed++ == 0) result.worst = i;
    result.smallest_tolerance = kInfinity;
  }
  return result;
}

enum class Family { floats, exact, strings };
Family family(DType type) {
  if (type == DType::string) return Family::strings;
  return is_float(type) ? Family::floats : Family::exact;
}

// JSON has no infinity and no NaN.
nlohmann::json number(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(format_number(value));
}

}  // namespace

Tolerance default_tolerance(DType type) {
  switch (type) {
    case DType::f16:
    case DType::bf16: return {2e-2, 2e-2};
    case DType::f8e4m3:
    case DType::f8e5m2:
    case DType::f8e4m3fnuz:
    case DType::f8e5m2fnuz: return {0.1, 0.1};
    default: return {};
  }
}

Comparison compare(const Tensor& expected, const Tensor& value, const Tolerance& tolerance) {
  Comparison result;
  if (expected.dims() != value.dims())
    result.incomparable = fmt::format("sizes differ: {} and {}", to_string(expected.dims()), to_string(value.dims()));
  else if (family(expected.dtype()) != family(value.dtype()))
    result.incomparable = fmt::format("types differ: {} and {}", to_string(expected.dtype()), to_string(value.dtype()));
  else if (expected.dtype() == DType::c64 || expected.dtype() == DType::c128)
    result.incomparable = "complex numbers are not compared";
  if (!result.incomparable.empty()) return result;
  if (family(expected.dtype()) == Family::strings) return compare_strings(expected, value);
  if (family(expected.dtype()) == Family::exact) return compare_exactly(expected, value);
  Accumulator accumulator(tolerance);
  if (expected.dtype() == DType::f32 && value.dtype() == DType::f32) {
    const Tensor e = expected.aligned(), v = value.aligned();
    const auto es = e.as<float>(), vs = v.as<float>();
    for (size_t i = 0; i < es.size(); ++i) accumulator.add(static_cast<int64_t>(i), es[i], vs[i]);
  } else {
    for (int64_t i = 0; i < expected.elements(); ++i) accumulator.add(i, expected.read_double(i), value.read_double(i));
  }
  return accumulator.finish();
}

nlohmann::json to_json(const Comparison& c) {
  nlohmann::json json = {{"passed", c.passed()}, {"elements", c.elements}};
  if (!c.incomparable.empty()) {
    json["incomparable"] = c.incomparable;
    return json;
  }
  json["failed_elements"] = c.failed;
  json["mismatched_nan_or_infinity"] = c.mismatched;
  json["max_abs"] = number(c.max_abs);
  json["max_rel"] = number(c.max_rel);
  json["cosine"] = number(c.cosine);
  json["smallest_tolerance"] = number(c.smallest_tolerance);
  json["worst_index"] = c.worst;
  return json;
}

}  // namespace lathe::tools
