// Short forms for the tests of the reference evaluator: run one op on tensors, compare with written-out numbers.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "graph/reference/evaluator.h"

namespace lathe {

inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

using Sizes = std::vector<int64_t>;

inline Tensor floats(Sizes dims, std::vector<float> values) {
  return Tensor::of<float>(std::move(dims), std::span<const float>(values));
}
inline Tensor ints(Sizes dims, std::vector<int64_t> values) {
  return Tensor::of<int64_t>(std::move(dims), std::span<const int64_t>(values));
}
inline Tensor integers(DType type, Sizes dims, const std::vector<int64_t>& values) {
  Tensor t(type, std::move(dims));
  for (size_t i = 0; i < values.size(); ++i) t.write_int(static_cast<int64_t>(i), values[i]);
  return t;
}
inline Shape shape_of(const Sizes& sizes) { return Shape(sizes.begin(), sizes.end()); }

// 1, 2, 3, .. in row-major order.
inline Tensor counting(const Sizes& dims) {
  Tensor t(DType::f32, dims);
  for (int64_t i = 0; i < t.elements(); ++i) t.write_double(i, static_cast<double>(i + 1));
  return t;
}

// Numbers without a pattern, the same in every run.
inline Tensor noise(const Sizes& dims, uint32_t seed) {
  Tensor t(DType::f32, dims);
  for (int64_t i = 0; i < t.elements(); ++i) {
    seed = seed * 1664525u + 1013904223u;
    t.write_double(i, static_cast<double>(seed >> 8) / (1 << 23) - 1);
  }
  return t;
}

inline std::vector<RefValue> run(const Op& op, const std::vector<RefValue>& inputs, size_t num_outputs = 1) {
  std::vector<const RefValue*> operands;
  for (const RefValue& input : inputs) operands.push_back(&input);
  SymbolBindings symbols;
  return evaluate_op(op, operands, num_outputs, symbols);
}

inline Tensor run1(const Op& op, const std::vector<RefValue>& inputs) {
  return std::get<Tensor>(run(op, inputs).at(0));
}

inline std::vector<double> numbers(const Tensor& t) {
  std::vector<double> values;
  for (int64_t i = 0; i < t.elements(); ++i) values.push_back(t.read_double(i));
  return values;
}

// Same sizes, and every number within `tolerance` (relative for large ones); NaN equals NaN.
inline void expect_values(const Tensor& actual, const Sizes& dims, const std::vector<double>& expected,
                          double tolerance = 1e-6) {
  ASSERT_EQ(actual.dims(), dims);
  ASSERT_EQ(static_cast<size_t>(actual.elements()), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const double value = actual.read_double(static_cast<int64_t>(i));
    if (std::isnan(expected[i]))
      EXPECT_TRUE(std::isnan(value)) << "element " << i << " is " << value;
    else if (std::isinf(expected[i]))
      EXPECT_EQ(value, expected[i]) << "element " << i;
    else
      EXPECT_NEAR(value, expected[i], tolerance * std::max(1.0, std::abs(expected[i]))) << "element " << i;
  }
}

// Runs `statement` and checks the code of its Error and that the message holds `text`.
template <class F>
void expect_error(ErrorCode code, std::string_view text, F&& statement) {
  try {
    statement();
    ADD_FAILURE() << "no error was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(std::string(error.what()), testing::HasSubstr(std::string(text)));
  }
}

}  // namespace lathe
