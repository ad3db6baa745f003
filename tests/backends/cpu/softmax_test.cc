// Softmax and log-softmax against double loops, for every instruction set of this machine.
#include "backends/cpu/kernels/softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/backends/cpu/kernel_test.h"

namespace lathe::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class SoftmaxTest : public KernelTest {
 protected:
  void run(Softmax p, Buffer& y) {
    p.y = y.data();
    p.ldy = p.n;
    ThreadTeam team(2, {.spin = std::chrono::nanoseconds(0)});
    softmax(team, kernels().softmax, p);
  }
  void check(Softmax p) {
    SCOPED_TRACE(testing::Message() << p.rows << " x " << p.n << (p.log ? " log" : ""));
    Buffer y(p.rows * p.n);
    run(p, y);
    for (int64_t r = 0; r < p.rows; ++r) {
      const auto v = [&](int64_t i) { return static_cast<double>(p.x[r * p.ldx + i]); };
      double highest = -INFINITY, sum = 0;
      for (int64_t i = 0; i < p.n; ++i) highest = std::fmax(highest, v(i));
      for (int64_t i = 0; i < p.n; ++i) sum += std::exp(v(i) - highest);
      for (int64_t i = 0; i < p.n; ++i) {
        const double want = p.log ? v(i) - highest - std::log(sum) : std::exp(v(i) - highest) / sum;
        if (std::isinf(want)) {
          ASSERT_EQ(y[r * p.n + i], want);
        } else {
          ASSERT_NEAR(y[r * p.n + i], want, 4e-6 * (p.log ? 1 + std::fabs(want) : want + 1e-30)) << r << ' ' << i;
        }
      }
    }
  }
};
LATHE_FOR_EACH_ISA(SoftmaxTest);

TEST_P(SoftmaxTest, OddSizes) {
  for (int64_t n : {1, 2, 3, 5, 13, 15, 16, 17, 31, 33, 63, 65, 127, 129, 200, 1000}) {
    const Buffer x = Buffer::random(5 * (n + 1), 1, -4, 4);
    for (bool log : {false, true}) check({.rows = 5, .n = n, .x = x.data(), .ldx = n + 1, .log = log});
  }
}

TEST_P(SoftmaxTest, LargeValuesDoNotOverflow) {
  const Buffer x = Buffer::random(3 * 40, 1, 900, 1000);
  for (bool log : {false, true}) check({.rows = 3, .n = 40, .x = x.data(), .ldx = 40, .log = log});
}

TEST_P(SoftmaxTest, SomeElementsAreMinusInfinity) {
  Buffer x = Buffer::random(12 * 21, 1);
  for (int64_t r = 0; r < 12; ++r) x[r * 21 + r] = x[r * 21 + 20] = -kInfinity;
  for (bool log : {false, true}) check({.rows = 12, .n = 21, .x = x.data(), .ldx = 21, .log = log});
}

TEST_P(SoftmaxTest, FullyMaskedRows) {
  for (int64_t n : {1, 5, 16, 40}) {
    const Buffer x(n, -kInfinity);
    Buffer y(n);
    Softmax p{.rows = 1, .n = n, .x = x.data(), .ldx = n};
    run(p, y);
    for (int64_t i = 0; i < n; ++i) ASSERT_TRUE(std::isnan(y[i]));
    p.safe = true;
    run(p, y);
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], 0.0f);
    p.log = true;
    run(p, y);
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], -kInfinity);
  }
}

TEST_P(SoftmaxTest, NanFillsItsRowEvenWhenSafe) {
  Buffer x(2 * 19, -kInfinity), y(2 * 19);
  x[3] = std::numeric_limits<float>::quiet_NaN();
  run({.rows = 2, .n = 19, .x = x.data(), .ldx = 19, .safe = true}, y);
  for (int64_t i = 0; i < 19; ++i) {
    ASSERT_TRUE(std::isnan(y[i])) << i;
    ASSERT_EQ(y[19 + i], 0.0f) << i;
  }
}

TEST_P(SoftmaxTest, ZeroSizes) {
  Buffer y(0);
  run({.rows = 0, .n = 3}, y);
  run({.rows = 3, .n = 0}, y);
}

}  // namespace
}  // namespace lathe::cpu
