// The elementary functions of the kernels against the C library in double precision, over sweeps of the float line.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "backends/cpu/kernels/vec_math_kernels.h"
#include "tests/backends/cpu/kernel_test.h"

namespace lathe::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Distance from the exact value in units of the last place of a float of that size (of the smallest one below 2^-126).
double ulps(float got, double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : INFINITY;
  if (std::fabs(want) > std::numeric_limits<float>::max()) return std::isinf(got) ? 0 : INFINITY;
  int exponent = 0;
  std::frexp(want, &exponent);
  return std::fabs(got - want) / std::ldexp(1.0, std::max(exponent, -125) - 24);
}

std::vector<float> sweep(float low, float high, int count) {
  std::vector<float> x(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i)
    x[static_cast<size_t>(i)] = low + (high - low) * static_cast<float>(i) / static_cast<float>(count);
  return x;
}

// Positive and negative floats of every exponent, spaced evenly in their bit patterns.
std::vector<float> whole_line(uint32_t step) {
  std::vector<float> x;
  for (uint64_t bits = 0; bits < 0x7f800000u; bits += step) {
    for (uint32_t sign : {0u, 0x80000000u}) {
      const uint32_t pattern = static_cast<uint32_t>(bits) | sign;
      float value;
      std::memcpy(&value, &pattern, sizeof value);
      x.push_back(value);
    }
  }
  return x;
}

class VecMathTest : public KernelTest {
 protected:
  std::vector<float> activate(Activation activation, const std::vector<float>& x) const {
    std::vector<float> y(x.size());
    kernels().vec_math.activate(activation, x.data(), y.data(), static_cast<int64_t>(x.size()));
    return y;
  }
};
LATHE_FOR_EACH_ISA(VecMathTest);

TEST_P(VecMathTest, ExpIsWithinTwoUlps) {
  for (const auto& x : {sweep(-110, 95, 400001), whole_line(5003)}) {
    std::vector<float> y(x.size());
    kernels().vec_math.exp(x.data(), y.data(), static_cast<int64_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i) ASSERT_LE(ulps(y[i], std::exp(static_cast<double>(x[i]))), 2) << x[i];
  }
}

TEST_P(VecMathTest, ExpAtTheEdges) {
  const std::vector<float> x = {kInfinity, -kInfinity, kNan, 0.0f, -0.0f, 88.72283f, 88.8f, -87.4f, -103.9f, -104.1f};
  std::vector<float> y(x.size());
  kernels().vec_math.exp(x.data(), y.data(), static_cast<int64_t>(x.size()));
  EXPECT_EQ(y[0], kInfinity);
  EXPECT_EQ(y[1], 0.0f);
  EXPECT_TRUE(std::isnan(y[2]));
  EXPECT_EQ(y[3], 1.0f);
  EXPECT_EQ(y[4], 1.0f);
  EXPECT_TRUE(std::isfinite(y[5]));
  EXPECT_EQ(y[6], kInfinity);
  EXPECT_GT(y[7], 0.0f);
  EXPECT_EQ(y[8], std::numeric_limits<float>::denorm_min());
  EXPECT_EQ(y[9], 0.0f);
}

TEST_P(VecMathTest, ErfIsAccurateAbsolutelyAndNearZeroRelatively) {
  for (const auto& x : {sweep(-6, 6, 400001), whole_line(5003)}) {
    std::vector<float> y(x.size());
    kernels().vec_math.erf(x.data(), y.data(), static_cast<int64_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = std::erf(static_cast<double>(x[i]));
      ASSERT_LE(std::fabs(y[i] - want), 4e-7) << x[i];
      ASSERT_LE(ulps(y[i], want), std::fabs(x[i]) < 0.5f ? 4 : 8) << x[i];
      ASSERT_LE(std::fabs(y[i]), 1.0f) << x[i];
    }
  }
}

TEST_P(VecMathTest, TanhIsWithinFourUlps) {
  for (const auto& x : {sweep(-11, 11, 400001), whole_line(5003)}) {
    const auto y = activate({ActivationKind::tanh}, x);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_LE(ulps(y[i], std::tanh(static_cast<double>(x[i]))), 4) << x[i];
  }
}

TEST_P(VecMathTest, SigmoidIsWithinFourUlps) {
  for (const auto& x : {sweep(-110, 110, 400001), whole_line(5003)}) {
    const auto y = activate({ActivationKind::sigmoid}, x);
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_LE(ulps(y[i], 1 / (1 + std::exp(-static_cast<double>(x[i])))), 4) << x[i];
  }
}

TEST_P(VecMathTest, EveryActivationKeepsNan) {
  for (int kind = 0; kind <= static_cast<int>(ActivationKind::hard_swish); ++kind)
    EXPECT_TRUE(std::isnan(activate({static_cast<ActivationKind>(kind), 0.0f, 6.0f}, {kNan})[0])) << kind;
}

TEST_P(VecMathTest, ActivationsAtInfinity) {
  const auto both_ends = [&](ActivationKind kind) { return activate({kind, 0.5f, 6.0f}, {-kInfinity, kInfinity}); };
  EXPECT_EQ(both_ends(ActivationKind::relu), (std::vector<float>{0, kInfinity}));
  EXPECT_EQ(both_ends(ActivationKind::clip), (std::vector<float>{0.5f, 6}));
  EXPECT_EQ(both_ends(ActivationKind::sigmoid), (std::vector<float>{0, 1}));
  EXPECT_EQ(both_ends(ActivationKind::tanh), (std::vector<float>{-1, 1}));
  EXPECT_EQ(both_ends(ActivationKind::hard_sigmoid), (std::vector<float>{0, 1}));
}

}  // namespace
}  // namespace lathe::cpu
