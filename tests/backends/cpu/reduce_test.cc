// Reductions against loops in double precision, for every subset of axes.
#include "backends/cpu/kernels/reduce.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/backends/cpu/reference_data.h"

namespace lathe::cpu {
namespace {

using Dims = std::vector<int64_t>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr ReduceKind kAllKinds[] = {ReduceKind::sum,     ReduceKind::mean,       ReduceKind::max, ReduceKind::min,
                                    ReduceKind::product, ReduceKind::sum_square, ReduceKind::l1,  ReduceKind::l2,
                                    ReduceKind::log_sum, ReduceKind::log_sum_exp};

class ReduceTest : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam() > detect_cpu_features().best_isa) GTEST_SKIP() << "not on this machine";
  }
  const KernelTable& kernels() const { return kernel_table(GetParam()); }
  std::vector<float> run(ReduceKind kind, const Dims& dims, unsigned mask, const std::vector<float>& x,
                         int threads = 2) {
    std::array<bool, 8> reduced = {};
    int64_t outputs = 1;
    for (size_t a = 0; a < dims.size(); ++a) {
      reduced[a] = (mask >> a & 1u) != 0;
      if (!reduced[a]) outputs *= dims[a];
    }
    std::vector<float> out(static_cast<size_t>(outputs), -77.0f);
    ThreadTeam team(threads);
    reduce(team, kernels(), kind, dims, {reduced.data(), dims.size()}, x.data(), out.data());
    return out;
  }
};
INSTANTIATE_TEST_SUITE_P(Isa, ReduceTest, testing::Values(Isa::generic, Isa::avx2, Isa::avx512),
                         [](const auto& instance) { return std::string(to_string(instance.param)); });

double reference(ReduceKind kind, const std::vector<double>& values) {
  double sum = 0, squares = 0, absolute = 0, product = 1, exponentials = 0;
  double largest = -std::numeric_limits<double>::infinity(), smallest = -largest;
  for (double v : values) {
    sum += v;
    squares += v * v;
    absolute += std::abs(v);
    product *= v;
    exponentials += std::exp(v);
    largest = std::max(largest, v);
    smallest = std::min(smallest, v);
  }
  switch (kind) {
    case ReduceKind::sum: return sum;
    case ReduceKind::mean: return sum / static_cast<double>(values.size());
    case ReduceKind::max: return largest;
    case ReduceKind::min: return smallest;
    case ReduceKind::product: return product;
    case ReduceKind::sum_square: return squares;
    case ReduceKind::l1: return absolute;
    case ReduceKind::l2: return std::sqrt(squares);
    case ReduceKind::log_sum: return std::log(sum);
    case ReduceKind::log_sum_exp: return std::log(exponentials);
  }
  return 0;
}

std::vector<double> expected(ReduceKind kind, const Dims& dims, unsigned mask, const std::vector<float>& x) {
  Dims kept = dims;
  for (size_t a = 0; a < dims.size(); ++a) kept[a] = (mask >> a & 1u) != 0 ? 1 : dims[a];
  std::vector<std::vector<double>> slices(static_cast<size_t>(product(kept)));
  for (int64_t i = 0; i < product(dims); ++i) {
    Dims index = unravel(i, dims);
    for (size_t a = 0; a < dims.size(); ++a) index[a] = kept[a] == 1 ? 0 : index[a];
    slices[static_cast<size_t>(ravel(index, kept))].push_back(static_cast<double>(x[static_cast<size_t>(i)]));
  }
  std::vector<double> out;
  for (const auto& slice : slices) out.push_back(reference(kind, slice));
  return out;
}

TEST_P(ReduceTest, EverySubsetOfAxes) {
  for (const Dims& dims :
       {Dims{3, 4, 5, 17}, Dims{2, 33, 1, 9}, Dims{1, 1, 1, 1}, Dims{2, 3, 150, 2}, Dims{65, 1, 3, 130}}) {
    std::vector<float> x = random_floats(product(dims), 5);
    for (float& value : x) value = 0.6f + value * 0.5f;  // keeps products and logarithms in range
    for (unsigned mask = 0; mask < 16; ++mask) {
      for (ReduceKind kind : kAllKinds) {
        const std::vector<float> got = run(kind, dims, mask, x);
        const std::vector<double> want = expected(kind, dims, mask, x);
        ASSERT_EQ(got.size(), want.size());
        for (size_t i = 0; i < want.size(); ++i) {
          if (kind == ReduceKind::log_sum && !(want[i] > -6)) continue;  // the logarithm of a cancelled or negative sum
          ASSERT_NEAR(got[i], want[i], 3e-6 * (1 + std::abs(want[i])))
              << testing::PrintToString(dims) << " mask " << mask << " kind " << static_cast<int>(kind) << " at " << i;
        }
      }
    }
  }
}

TEST_P(ReduceTest, LongSumsKeepTheirAccuracy) {
  const int64_t count = 3'000'000;
  std::vector<float> x(static_cast<size_t>(count), 0.1f);
  EXPECT_NEAR(run(ReduceKind::sum, {count}, 1, x)[0], 0.1f * 3e6, 0.1);
  const std::vector<float> columns = run(ReduceKind::mean, {count / 3, 3}, 1, x);
  for (float mean : columns) EXPECT_NEAR(mean, 0.1f, 5e-8);
}

TEST_P(ReduceTest, LengthsAroundVectorAndBlockSizes) {
  for (int64_t n : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 1023, 1024, 1025, 2050}) {
    const std::vector<float> x = random_floats(n * 3, static_cast<unsigned>(n));
    for (unsigned mask : {1u, 2u}) {
      for (const Dims& dims : {Dims{3, n}, Dims{n, 3}}) {
        for (ReduceKind kind : {ReduceKind::sum, ReduceKind::max, ReduceKind::min, ReduceKind::log_sum_exp}) {
          const std::vector<float> got = run(kind, dims, mask, x);
          const std::vector<double> want = expected(kind, dims, mask, x);
          for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-4) << n << " mask " << mask;
        }
      }
    }
  }
}

TEST_P(ReduceTest, NanReachesEveryResultOfItsSlice) {
  for (int64_t position = 0; position < 70; position += 3) {
    std::vector<float> x = random_floats(70 * 2, 6);
    x[static_cast<size_t>(position)] = kNan;
    for (ReduceKind kind : kAllKinds) {
      const std::vector<float> along = run(kind, {2, 70}, 2, x);
      EXPECT_TRUE(std::isnan(along[0])) << static_cast<int>(kind) << " " << position;
      if (kind != ReduceKind::log_sum) {
        EXPECT_FALSE(std::isnan(along[1]));
      }
      const std::vector<float> down = run(kind, {70, 2}, 1, x);
      EXPECT_TRUE(std::isnan(down[static_cast<size_t>(position % 2)])) << static_cast<int>(kind) << " " << position;
    }
  }
}

TEST_P(ReduceTest, InfinitiesInLogSumExp) {
  EXPECT_EQ(run(ReduceKind::log_sum_exp, {3}, 1, {1.0f, kInfinity, 2.0f})[0], kInfinity);
  EXPECT_EQ(run(ReduceKind::log_sum_exp, {2}, 1, {-kInfinity, -kInfinity})[0], -kInfinity);
  EXPECT_NEAR(run(ReduceKind::log_sum_exp, {2}, 1, {1000.0f, -kInfinity})[0], 1000.0f, 1e-3);
  EXPECT_NEAR(run(ReduceKind::log_sum_exp, {2}, 1, {-1000.0f, -1000.0f})[0], -1000.0f + std::log(2.0f), 1e-3);
}

TEST_P(ReduceTest, NothingGivesTheIdentity) {
  const std::vector<float> none;
  EXPECT_EQ(run(ReduceKind::sum, {2, 0}, 2, none), (std::vector<float>{0, 0}));
  EXPECT_EQ(run(ReduceKind::product, {0, 2}, 1, none), (std::vector<float>{1, 1}));
  EXPECT_EQ(run(ReduceKind::max, {0}, 1, none)[0], -kInfinity);
  EXPECT_EQ(run(ReduceKind::min, {0}, 1, none)[0], kInfinity);
  EXPECT_EQ(run(ReduceKind::log_sum_exp, {0}, 1, none)[0], -kInfinity);
  EXPECT_TRUE(std::isnan(run(ReduceKind::mean, {0}, 1, none)[0]));
  EXPECT_TRUE(run(ReduceKind::sum, {0, 3}, 2, none).empty());
}

TEST_P(ReduceTest, SoftmaxAlongAnyAxis) {
  for (const Dims& dims : {Dims{2, 5, 3}, Dims{1, 1, 1}, Dims{3, 40, 150}, Dims{2, 1, 7}, Dims{1, 1030, 2}}) {
    for (int64_t axis = 0; axis < 3; ++axis) {
      const AxisView view = view_along(dims, axis);
      const std::vector<float> x = random_floats(product(dims), 8);
      for (bool log : {false, true}) {
        std::vector<float> y = x;
        ThreadTeam team(2);
        softmax_along(team, kernels(), view, log, y.data(), y.data());
        const std::vector<double> normalizer =
            expected(ReduceKind::log_sum_exp, {view.outer, view.axis, view.inner}, 2, x);
        for (int64_t i = 0; i < product(dims); ++i) {
          const auto slice = static_cast<size_t>(i / view.inner / view.axis * view.inner + i % view.inner);
          const double want = static_cast<double>(x[static_cast<size_t>(i)]) - normalizer[slice];
          ASSERT_NEAR(y[static_cast<size_t>(i)], log ? want : std::exp(want), 2e-6) << testing::PrintToString(dims);
        }
      }
    }
  }
}

TEST(ArgExtreme, FirstOrLastAndNan) {
  ThreadTeam team(1);
  const auto arg = [&](const std::vector<float>& x, bool largest, bool last) {
    int64_t at = -1;
    arg_extreme(team, {1, static_cast<int64_t>(x.size()), 1}, largest, last, x.data(), &at);
    return at;
  };
  EXPECT_EQ(arg({1, 3, 3, 2}, true, false), 1);
  EXPECT_EQ(arg({1, 3, 3, 2}, true, true), 2);
  EXPECT_EQ(arg({1, 3, 1, 2}, false, false), 0);
  EXPECT_EQ(arg({1, 3, 1, 2}, false, true), 2);
  EXPECT_EQ(arg({1, kNan, 5, kNan}, true, false), 1);
  EXPECT_EQ(arg({1, kNan, 5, kNan}, false, true), 3);
  EXPECT_EQ(arg({-kInfinity}, true, false), 0);
}

TEST(ArgExtreme, AlongAnyAxis) {
  const Dims dims = {3, 11, 130};
  const std::vector<float> x = random_floats(product(dims), 11);
  for (int64_t axis = 0; axis < 3; ++axis) {
    const AxisView view = view_along(dims, axis);
    std::vector<int64_t> out(static_cast<size_t>(view.outer * view.inner));
    ThreadTeam team(2);
    arg_extreme(team, view, true, false, x.data(), out.data());
    for (int64_t slice = 0; slice < view.outer * view.inner; ++slice) {
      const int64_t start = slice / view.inner * view.axis * view.inner + slice % view.inner;
      const float best = x[static_cast<size_t>(start + out[static_cast<size_t>(slice)] * view.inner)];
      for (int64_t a = 0; a < view.axis; ++a) ASSERT_LE(x[static_cast<size_t>(start + a * view.inner)], best);
    }
  }
}

TEST(CumulativeSum, AllFourVariants) {
  ThreadTeam team(2);
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};  // [3, 2] along axis 0
  const auto sums = [&](bool exclusive, bool reverse) {
    std::vector<float> out(6);
    cumulative_sum(team, {1, 3, 2}, exclusive, reverse, x.data(), out.data());
    return out;
  };
  EXPECT_EQ(sums(false, false), (std::vector<float>{1, 2, 4, 6, 9, 12}));
  EXPECT_EQ(sums(true, false), (std::vector<float>{0, 0, 1, 2, 4, 6}));
  EXPECT_EQ(sums(false, true), (std::vector<float>{9, 12, 8, 10, 5, 6}));
  EXPECT_EQ(sums(true, true), (std::vector<float>{8, 10, 5, 6, 0, 0}));
}

}  // namespace
}  // namespace lathe::cpu
