#include "tools/comparison.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace lathe::tools {
namespace {

Tensor floats(std::initializer_list<float> values) {
  return Tensor::of<float>({static_cast<int64_t>(values.size())}, values);
}

TEST(Comparison, EqualTensors) {
  const Comparison c = compare(floats({1, -2, 0}), floats({1, -2, 0}), {0, 0});
  EXPECT_TRUE(c.passed());
  EXPECT_EQ(c.elements, 3);
  EXPECT_EQ(c.max_abs, 0);
  EXPECT_EQ(c.smallest_tolerance, 0);
  EXPECT_NEAR(c.cosine, 1, 1e-12);
}

TEST(Comparison, Metrics) {
  const Comparison c = compare(floats({1, 10, 0}), floats({1.5f, 10, 0.25f}), {0.3, 0});
  EXPECT_FALSE(c.passed());
  EXPECT_EQ(c.failed, 1);
  EXPECT_EQ(c.worst, 0);
  EXPECT_DOUBLE_EQ(c.max_abs, 0.5);
  EXPECT_DOUBLE_EQ(c.max_rel, 0.5);
  EXPECT_DOUBLE_EQ(c.smallest_tolerance, 0.25);  // 0.5 / (1 + 1), and 0.25 / (1 + 0)
  EXPECT_TRUE(compare(floats({1, 10, 0}), floats({1.5f, 10, 0.25f}), {0.25, 0.25}).passed());
  EXPECT_FALSE(compare(floats({1, 10, 0}), floats({1.5f, 10, 0.25f}), {0.249, 0.249}).passed());
}

TEST(Comparison, NanAndInfinity) {
  const float inf = INFINITY;
  EXPECT_TRUE(compare(floats({NAN, inf, -inf}), floats({NAN, inf, -inf}), {0, 0}).passed());
  for (const auto& [a, b] : {std::pair{NAN, 1.0f}, {1.0f, NAN}, {inf, -inf}, {inf, 3e38f}, {1.0f, inf}}) {
    const Comparison c = compare(floats({a, 2}), floats({b, 2}), {1e30, 1e30});
    EXPECT_FALSE(c.passed()) << a << " " << b;
    EXPECT_EQ(c.mismatched, 1);
    EXPECT_EQ(c.worst, 0);
    EXPECT_TRUE(std::isinf(c.smallest_tolerance));
    EXPECT_EQ(to_json(c)["smallest_tolerance"], "inf");  // JSON has no infinity
  }
}

TEST(Comparison, EmptyTensorsAreEqual) { EXPECT_TRUE(compare(floats({}), floats({}), {0, 0}).passed()); }

TEST(Comparison, IntegersMustBeEqual) {
  const Tensor a = Tensor::of<int64_t>({2}, {1, int64_t{1} << 53}),
               b = Tensor::of<int64_t>({2}, {1, (int64_t{1} << 53) + 1});
  const Comparison c = compare(a, b, {10, 10});  // equal as doubles
  EXPECT_FALSE(c.passed());
  EXPECT_EQ(c.failed, 1);
  EXPECT_TRUE(compare(a, a, {0, 0}).passed());
}

TEST(Comparison, SizesAndKindsMustAgree) {
  EXPECT_FALSE(compare(floats({1}), floats({1, 2}), {}).passed());
  EXPECT_FALSE(compare(floats({1}), floats({1, 2}), {}).incomparable.empty());
  EXPECT_FALSE(compare(floats({1}), Tensor::of<int64_t>({1}, {1}), {}).passed());
  EXPECT_TRUE(compare(floats({1}), Tensor::of<double>({1}, {1}), {}).passed());
}

TEST(Comparison, Strings) {
  const Tensor a = Tensor::of_strings({2}, {"x", "y"}), b = Tensor::of_strings({2}, {"x", "z"});
  EXPECT_TRUE(compare(a, a, {}).passed());
  EXPECT_EQ(compare(a, b, {}).failed, 1);
}

TEST(Comparison, DriftLooksAtTheRange) {
  // An element near zero beside large ones: out of tolerance, but no drift.
  const Comparison c = compare(floats({100, 0}), floats({100, 0.01f}), {1e-4, 1e-3});
  EXPECT_FALSE(c.passed());
  EXPECT_FALSE(c.drifted({1e-4, 1e-3}));
  EXPECT_TRUE(compare(floats({1, 0}), floats({1, 0.01f}), {1e-4, 1e-3}).drifted({1e-4, 1e-3}));
}

}  // namespace
}  // namespace lathe::tools
