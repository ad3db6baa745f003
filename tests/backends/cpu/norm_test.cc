// Layer norm, RMS norm and embedding sums against double loops, for every instruction set of this machine.
#include "backends/cpu/kernels/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "backends/cpu/kernels/embedding.h"
#include "tests/backends/cpu/kernel_test.h"

namespace lathe::cpu {
namespace {

constexpr int64_t kOddSizes[] = {1, 2, 3, 5, 13, 15, 16, 17, 31, 33, 63, 65, 127, 129, 200, 768};

// One row in double precision; y holds s on entry.
void normalize_reference(const Norm& p, std::vector<double>& y, double& mean, double& inverse_std) {
  const double n = static_cast<double>(p.n);
  mean = 0;
  double squares = 0;
  if (!p.rms)
    for (double v : y) mean += v / n;
  for (double v : y) squares += (v - mean) * (v - mean) / n;
  inverse_std = 1 / std::sqrt(squares + p.epsilon);
  for (size_t i = 0; i < y.size(); ++i) {
    y[i] = (y[i] - mean) * inverse_std;
    if (p.scale != nullptr) y[i] *= p.scale[i];
    if (p.shift != nullptr) y[i] += p.shift[i];
  }
}

class NormTest : public KernelTest {
 protected:
  void check(Norm p, double tolerance = 5e-6) {
    SCOPED_TRACE(testing::Message() << p.rows << " x " << p.n << (p.rms ? " rms" : ""));
    Buffer y(p.rows * (p.n + 2), 7.0f), mean(p.rows), inverse_std(p.rows);
    p.y = y.data();
    p.ldy = p.n + 2;
    if (!p.rms) p.mean = mean.data();
    p.inverse_std = inverse_std.data();
    ThreadTeam team(2, {.spin = std::chrono::nanoseconds(0)});
    normalize(team, kernels().norm, p);
    for (int64_t r = 0; r < p.rows; ++r) {
      std::vector<double> want(static_cast<size_t>(p.n));
      for (int64_t i = 0; i < p.n; ++i) {
        double& s = want[static_cast<size_t>(i)];
        s = p.x[r * p.ldx + i];
        if (p.residual != nullptr) s += p.residual[r * p.ld_residual + i];
        if (p.bias != nullptr) s += p.bias[i];
        ASSERT_NEAR(p.sum != nullptr ? p.sum[r * p.ld_sum + i] : s, s, 1e-6);
      }
      double want_mean = 0, want_std = 0;
      normalize_reference(p, want, want_mean, want_std);
      ASSERT_NEAR(mean[r], want_mean, tolerance * (1 + std::fabs(want_mean)));  // RMS leaves both at 0
      ASSERT_NEAR(inverse_std[r] / want_std, 1, tolerance);
      for (int64_t i = 0; i < p.n; ++i) {
        const double w = want[static_cast<size_t>(i)];
        ASSERT_NEAR(y[r * p.ldy + i], w, tolerance * (1 + std::fabs(w))) << r << ' ' << i;
      }
      ASSERT_EQ(y[r * p.ldy + p.n], 7.0f);
    }
  }
};
LATHE_FOR_EACH_ISA(NormTest);

TEST_P(NormTest, OddSizes) {
  for (int64_t n : kOddSizes)
    for (bool rms : {false, true}) {
      const Buffer x = Buffer::random(5 * n, 1, -2, 3), scale = Buffer::random(n, 2), shift = Buffer::random(n, 3);
      check({.rows = 5, .n = n, .x = x.data(), .ldx = n, .rms = rms, .epsilon = 1e-3f});
      check({.rows = 5,
             .n = n,
             .x = x.data(),
             .ldx = n,
             .rms = rms,
             .epsilon = 1e-3f,
             .scale = scale.data(),
             .shift = shift.data()});
    }
}

TEST_P(NormTest, ResidualBiasAndSum) {
  for (int64_t n : {7, 64, 131}) {
    const Buffer x = Buffer::random(3 * n, 1), residual = Buffer::random(3 * (n + 5), 2), bias = Buffer::random(n, 3);
    Buffer sum(3 * n);
    Norm p{.rows = 3,
           .n = n,
           .x = x.data(),
           .ldx = n,
           .residual = residual.data(),
           .ld_residual = n + 5,
           .bias = bias.data(),
           .epsilon = 1e-5f};
    check(p);
    p.sum = sum.data();
    p.ld_sum = n;
    check(p);
    p.residual = nullptr;
    check(p);
  }
}

TEST_P(NormTest, ALargeMeanDoesNotCostTheVariance) {
  Buffer x = Buffer::random(4 * 256, 1);
  for (int64_t i = 0; i < x.size(); ++i) x[i] += 1000.0f;
  check({.rows = 4, .n = 256, .x = x.data(), .ldx = 256, .epsilon = 1e-5f}, 2e-4);
}

TEST_P(NormTest, OutputMayBeTheInputOrTheResidual) {
  const Buffer x = Buffer::random(2 * 37, 1), residual = Buffer::random(2 * 37, 2);
  Buffer separate(2 * 37), over_x = x, over_residual = residual;
  ThreadTeam team(1);
  Norm p{.rows = 2,
         .n = 37,
         .x = x.data(),
         .ldx = 37,
         .residual = residual.data(),
         .ld_residual = 37,
         .epsilon = 1e-5f,
         .y = separate.data(),
         .ldy = 37};
  normalize(team, kernels().norm, p);
  p.x = p.y = over_x.data();
  normalize(team, kernels().norm, p);
  p.x = x.data();
  p.residual = p.y = over_residual.data();
  normalize(team, kernels().norm, p);
  for (int64_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(over_x[i], separate[i]);
    ASSERT_EQ(over_residual[i], separate[i]);
  }
}

TEST_P(NormTest, NanStaysInItsRow) {
  Buffer x = Buffer::random(3 * 40, 1), y(3 * 40);
  x[1 * 40 + 5] = std::numeric_limits<float>::quiet_NaN();
  ThreadTeam team(1);
  normalize(team, kernels().norm,
            {.rows = 3, .n = 40, .x = x.data(), .ldx = 40, .epsilon = 1e-5f, .y = y.data(), .ldy = 40});
  for (int64_t i = 0; i < y.size(); ++i) ASSERT_EQ(std::isnan(y[i]), i / 40 == 1) << i;
}

TEST_P(NormTest, ZeroSizes) {
  ThreadTeam team(2);
  normalize(team, kernels().norm, {.rows = 0, .n = 4});
  normalize(team, kernels().norm, {.rows = 3, .n = 0});
}

using EmbeddingTest = KernelTest;
LATHE_FOR_EACH_ISA(EmbeddingTest);

TEST_P(EmbeddingTest, SumsRowsOfSeveralTables) {
  const int64_t n = 37, rows = 20;
  const Buffer words = Buffer::random(50 * n, 1), positions = Buffer::random(12 * n, 2),
               types = Buffer::random(2 * n, 3);
  std::vector<int64_t> ids(rows);
  std::vector<int32_t> type_ids(rows);
  for (size_t r = 0; r < ids.size(); ++r) {
    ids[r] = static_cast<int64_t>(r * 7 % 50) - (r % 2 == 0 ? 50 : 0);  // every other one counts from the end
    type_ids[r] = static_cast<int32_t>(r / 10);
  }
  Buffer y(rows * n);
  const EmbeddingSum sum{rows,
                         n,
                         3,
                         {{.data = words.data(), .table_rows = 50, .ids64 = ids.data()},
                          {.data = positions.data(), .table_rows = 12, .first = 2, .period = 10},
                          {.data = types.data(), .table_rows = 2, .ids32 = type_ids.data()}},
                         y.data(),
                         n};
  ThreadTeam team(2);
  ASSERT_TRUE(embedding_sum(team, kernels().embedding, sum, kernels().norm, nullptr));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < n; ++i)
      ASSERT_FLOAT_EQ(y[r * n + i],
                      words[r * 7 % 50 * n + i] + positions[(2 + r % 10) * n + i] + types[r / 10 * n + i]);

  Buffer normed(rows * n), fused(rows * n);
  const Norm norm{.rows = rows, .n = n, .x = y.data(), .ldx = n, .epsilon = 1e-5f, .y = normed.data(), .ldy = n};
  normalize(team, kernels().norm, norm);
  EmbeddingSum in_place = sum;
  in_place.y = fused.data();
  Norm fused_norm = norm;
  fused_norm.y = fused.data();
  ASSERT_TRUE(embedding_sum(team, kernels().embedding, in_place, kernels().norm, &fused_norm));
  for (int64_t i = 0; i < normed.size(); ++i) ASSERT_EQ(normed[i], fused[i]);
}

TEST_P(EmbeddingTest, ReportsIdsOutOfRange) {
  const Buffer table = Buffer::random(5 * 8, 1);
  Buffer y(2 * 8);
  ThreadTeam team(2);
  for (int64_t bad : {int64_t{5}, int64_t{-6}, INT64_MAX, INT64_MIN}) {
    const int64_t ids[] = {4, bad};
    const EmbeddingSum sum{2, 8, 1, {{.data = table.data(), .table_rows = 5, .ids64 = ids}}, y.data(), 8};
    EXPECT_FALSE(embedding_sum(team, kernels().embedding, sum, kernels().norm, nullptr)) << bad;
  }
}

}  // namespace
}  // namespace lathe::cpu
