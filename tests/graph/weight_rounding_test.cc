// Rounding of weights: every error against half a step, the search against the plain scale.
#include "graph/weight_rounding.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <random>

namespace lathe {
namespace {

Tensor random(DType type, int64_t n, int64_t k, uint32_t seed = 1) {
  Tensor t(type, {n, k});
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal;
  for (int64_t i = 0; i < t.elements(); ++i) t.write_double(i, normal(engine));
  return t;
}

RoundedWeight rounded(const Tensor& w, const RoundingOptions& options, int threads = 2) {
  ThreadTeam team(threads);
  WeightRounder rounder(w.dims()[0], w.dims()[1], options);
  rounder.add_rows(w, team);
  return std::move(rounder).finish();
}

// Root of the mean squared error.
double error_of(const Tensor& w, const RoundedWeight& r, int64_t block) {
  const int64_t k = w.dims()[1];
  double sum = 0;
  for (int64_t i = 0; i < w.elements(); ++i) {
    const double scale = r.scales.read_double(i / k * r.scales.dims()[1] + i % k / block);
    sum += std::pow(w.read_double(i) - scale * static_cast<double>(r.q.read_int(i)), 2);
  }
  return std::sqrt(sum / static_cast<double>(w.elements()));
}

TEST(WeightRounding, EightBitsPerChannelAreHalfAStepOff) {
  const Tensor w = random(DType::bf16, 5, 300);
  const RoundedWeight r = rounded(w, {8, 0, DType::f32});
  EXPECT_EQ(r.q.dtype(), DType::i8);
  EXPECT_EQ(r.scales.dims(), (std::vector<int64_t>{5, 1}));
  for (int64_t i = 0; i < w.elements(); ++i) {
    const double scale = r.scales.read_double(i / 300);
    EXPECT_NEAR(static_cast<double>(r.q.read_int(i)) * scale, w.read_double(i), scale * 0.5001);
  }
}

TEST(WeightRounding, FourBitsBeatThePlainScale) {
  const Tensor w = random(DType::f32, 64, 256);
  const RoundedWeight r = rounded(w, {4, 32, DType::f16});
  EXPECT_EQ(r.q.dtype(), DType::i4);
  EXPECT_EQ(r.scales.dtype(), DType::f16);
  double plain = 0;
  for (int64_t b = 0; b < w.elements() / 32; ++b) {
    double most = 0;
    for (int64_t i = 0; i < 32; ++i) most = std::max(most, std::abs(w.read_double(b * 32 + i)));
    for (int64_t i = 0; i < 32; ++i) {
      const double x = w.read_double(b * 32 + i);
      plain += std::pow(x - std::nearbyint(x * 7 / most) * most / 7, 2);
    }
  }
  EXPECT_LT(error_of(w, r, 32), 0.93 * std::sqrt(plain / static_cast<double>(w.elements())));
}

TEST(WeightRounding, ExactLevelsStayExact) {
  Tensor w(DType::f32, {2, 16});
  for (int64_t i = 0; i < 32; ++i) w.write_double(i, static_cast<double>(i % 16 - 8) * (i < 16 ? 0.25 : -3));
  const RoundedWeight r = rounded(w, {4, 16, DType::f16});
  EXPECT_EQ(error_of(w, r, 16), 0);
}

TEST(WeightRounding, SlicesAndThreadsGiveTheSame) {
  const Tensor w = random(DType::f16, 7, 33);  // rows of an odd number of levels share bytes
  const RoundingOptions options{4, 10, DType::bf16};
  const RoundedWeight whole = rounded(w, options, 1);
  ThreadTeam team(3);
  WeightRounder rounder(7, 33, options);
  for (const auto& [begin, end] : {std::pair{0, 1}, {1, 4}, {4, 4}, {4, 7}}) {
    Tensor slice(DType::f16, {end - begin, 33});
    for (int64_t i = 0; i < slice.elements(); ++i) slice.write_double(i, w.read_double(begin * 33 + i));
    rounder.add_rows(slice, team);
  }
  const RoundedWeight sliced = std::move(rounder).finish();
  EXPECT_EQ(sliced.q, whole.q);
  EXPECT_EQ(sliced.scales, whole.scales);
}

TEST(WeightRounding, ZerosAndTinyNumbersStayFinite) {
  Tensor w(DType::f32, {1, 64});
  for (int64_t i = 32; i < 64; ++i) w.write_double(i, 1e-42);
  for (const int bits : {4, 8}) {
    const RoundedWeight r = rounded(w, {bits, 32, DType::f16});
    for (int64_t i = 0; i < 64; ++i) EXPECT_EQ(static_cast<double>(r.q.read_int(i)) * r.scales.read_double(i / 32), 0);
  }
  const RoundedWeight none = rounded(Tensor(DType::f32, {0, 8}), {});
  EXPECT_EQ(none.q.elements(), 0);
}

TEST(WeightRounding, RefusesWhatCannotBeRounded) {
  ThreadTeam team(1);
  const auto refuse = [&](std::string_view text, auto&& f) {
    try {
      f();
      ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), testing::HasSubstr(std::string(text)));
    }
  };
  refuse("4 or 8 bits, not 3", [] { WeightRounder(1, 1, {3, 0, DType::f16}); });
  refuse("scales of type i8", [] { WeightRounder(1, 1, {4, 0, DType::i8}); });
  refuse("do not fit", [&] { WeightRounder(2, 3, {}).add_rows(Tensor(DType::f32, {1, 4}), team); });
  refuse("do not fit", [&] { WeightRounder(2, 3, {}).add_rows(Tensor(DType::i32, {1, 3}), team); });
  refuse("has 3 more", [&] { WeightRounder(2, 3, {}).add_rows(Tensor(DType::f32, {3, 3}), team); });
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Tensor w(DType::f32, {1, 4});
    w.write_double(2, bad);
    refuse("infinities or NaN", [&] { WeightRounder(1, 4, {}).add_rows(w, team); });
  }
}

}  // namespace
}  // namespace lathe
