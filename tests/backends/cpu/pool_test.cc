// Pooling in both layouts against windows walked tap by tap.
#include "backends/cpu/kernels/pool.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/backends/cpu/reference_data.h"

namespace lathe::cpu {
namespace {

using Size3 = std::array<int64_t, 3>;

int64_t volume(const Size3& size) { return size[0] * size[1] * size[2]; }

size_t flat_of(const PoolShape& s, bool nchw, const Size3& size, int64_t n, int64_t c, int64_t pixel) {
  const int64_t pixels = volume(size);
  return static_cast<size_t>(nchw ? (n * s.channels + c) * pixels + pixel : (n * pixels + pixel) * s.channels + c);
}

struct Tap {
  int64_t pixel;    // in the input, or -1 in the padding
  int64_t columns;  // position when the height varies fastest
};

std::vector<Tap> taps_of(const PoolShape& s, int64_t out_pixel) {
  const Size3 out = {out_pixel / s.output[2] / s.output[1], out_pixel / s.output[2] % s.output[1],
                     out_pixel % s.output[2]};
  std::vector<Tap> taps;
  for (int64_t k = 0; k < volume(s.kernel); ++k) {
    const Size3 tap = {k / s.kernel[2] / s.kernel[1], k / s.kernel[2] % s.kernel[1], k % s.kernel[2]};
    Size3 at;
    bool inside = true, padded = true;
    for (size_t a = 0; a < 3; ++a) {
      at[a] = out[a] * s.stride[a] - s.pad_begin[a] + tap[a] * s.dilation[a];
      inside = inside && at[a] >= 0 && at[a] < s.input[a];
      padded = padded && at[a] < s.input[a] + s.pad_end[a];
    }
    if (!padded) continue;  // beyond even the padding: such taps do not exist
    taps.push_back({inside ? (at[0] * s.input[1] + at[1]) * s.input[2] + at[2] : -1,
                    (at[0] * s.input[2] + at[2]) * s.input[1] + at[1]});
  }
  return taps;
}

struct Expected {
  double value;
  int64_t index, index_by_columns;
};

Expected expected(const PoolShape& s, const std::vector<float>& x, int64_t n, int64_t c, int64_t out_pixel) {
  double sum = 0, powers = 0, best = -std::numeric_limits<double>::infinity();
  int64_t inside = 0, all = 0, index = -1, by_columns = -1;
  for (const Tap& tap : taps_of(s, out_pixel)) {
    ++all;
    if (tap.pixel < 0) continue;
    ++inside;
    const double v = static_cast<double>(x[flat_of(s, s.nchw, s.input, n, c, tap.pixel)]);
    sum += v;
    powers += std::pow(std::abs(v), static_cast<double>(s.p));
    if (index < 0 || v > best) {
      best = v;
      index = (n * s.channels + c) * volume(s.input) + tap.pixel;
      by_columns = (n * s.channels + c) * volume(s.input) + tap.columns;
    }
  }
  const int64_t divisor = s.count_include_pad ? all : inside;
  if (s.kind == PoolKind::average) return {divisor == 0 ? 0 : sum / static_cast<double>(divisor), 0, 0};
  if (s.kind == PoolKind::lp) return {std::pow(powers, 1.0 / static_cast<double>(s.p)), 0, 0};
  return {best, index, by_columns};
}

// ONNX's rule; with ceil_mode a last window that would start beyond input and begin padding is dropped.
int64_t output_size(int64_t input, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad_begin, int64_t pad_end,
                    bool ceil_mode) {
  const int64_t room = input + pad_begin + pad_end - (dilation * (kernel - 1) + 1);
  if (room < 0) return 0;
  if (!ceil_mode) return room / stride + 1;
  const int64_t windows = (room + stride - 1) / stride + 1;
  return (windows - 1) * stride >= input + pad_begin ? windows - 1 : windows;
}

PoolShape shape2d(int64_t channels, int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation = 1,
                  bool ceil_mode = false) {
  PoolShape s;
  s.batch = 2, s.channels = channels;
  s.input = {1, size, size + 3};
  s.kernel = {1, kernel, kernel};
  s.stride = {1, stride, stride};
  s.dilation = {1, dilation, dilation};
  s.pad_begin = {0, pad, pad};
  s.pad_end = {0, pad, pad};
  for (size_t a = 1; a < 3; ++a) {
    s.output[a] = output_size(s.input[a], kernel, stride, dilation, pad, pad, ceil_mode);
  }
  return s;
}

std::vector<PoolShape> all_shapes() {
  std::vector<PoolShape> shapes = {
      shape2d(64, 12, 3, 2, 1),         shape2d(5, 9, 2, 2, 0),           shape2d(17, 7, 3, 1, 1),
      shape2d(33, 10, 3, 2, 0, 2),      shape2d(3, 10, 3, 2, 1, 1, true), shape2d(20, 7, 2, 3, 0, 1, true),
      shape2d(16, 3, 3, 1, 1, 3, true), shape2d(8, 1, 1, 1, 0),           shape2d(70, 6, 5, 1, 2),
  };
  PoolShape global = shape2d(24, 7, 1, 1, 0);
  global.kernel = global.input;
  global.output = {1, 1, 1};
  shapes.push_back(global);
  PoolShape uneven = shape2d(9, 8, 3, 2, 1);
  uneven.pad_begin = {0, 2, 0};
  uneven.pad_end = {0, 0, 2};
  shapes.push_back(uneven);
  PoolShape cube;
  cube.batch = 1, cube.channels = 6;
  cube.input = {4, 5, 6}, cube.kernel = {2, 3, 2}, cube.stride = {2, 1, 2}, cube.pad_begin = cube.pad_end = {1, 1, 0};
  for (size_t a = 0; a < 3; ++a) {
    cube.output[a] =
        output_size(cube.input[a], cube.kernel[a], cube.stride[a], 1, cube.pad_begin[a], cube.pad_end[a], false);
  }
  shapes.push_back(cube);
  return shapes;
}

class PoolTest : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam() > detect_cpu_features().best_isa) GTEST_SKIP() << "not on this machine";
  }
  void check(const PoolShape& s, int threads) {
    const KernelTable& kernels = kernel_table(GetParam());
    const std::vector<float> x = random_floats(s.batch * s.channels * volume(s.input), 1);
    const auto count = static_cast<size_t>(s.batch * s.channels * volume(s.output));
    std::vector<float> y(count, -9.0f);
    std::vector<int64_t> rows(count), columns(count);
    std::vector<std::byte> workspace(pool_workspace_bytes(s, threads));
    ThreadTeam team(threads);
    const bool indices = s.kind == PoolKind::max;
    pool(team, kernels, s, x.data(), y.data(), workspace.data(), {indices ? rows.data() : nullptr, false});
    pool(team, kernels, s, x.data(), y.data(), workspace.data(), {indices ? columns.data() : nullptr, true});
    for (int64_t n = 0; n < s.batch; ++n)
      for (int64_t c = 0; c < s.channels; ++c)
        for (int64_t p = 0; p < volume(s.output); ++p) {
          const Expected want = expected(s, x, n, c, p);
          const size_t at = flat_of(s, s.nchw, s.output, n, c, p);
          ASSERT_NEAR(y[at], want.value, 3e-6 * (1 + std::abs(want.value))) << "channel " << c << " pixel " << p;
          if (!indices) continue;
          ASSERT_EQ(rows[at], want.index);
          ASSERT_EQ(columns[at], want.index_by_columns);
        }
  }
};
INSTANTIATE_TEST_SUITE_P(Isa, PoolTest, testing::Values(Isa::generic, Isa::avx2, Isa::avx512),
                         [](const auto& instance) { return std::string(to_string(instance.param)); });

TEST_P(PoolTest, MatchesItsDefinition) {
  int number = 0;
  for (PoolShape s : all_shapes()) {
    SCOPED_TRACE("shape " + std::to_string(number++));
    for (PoolKind kind : {PoolKind::max, PoolKind::average, PoolKind::lp}) {
      for (bool nchw : {false, true}) {
        for (bool include_pad : {false, true}) {
          s.kind = kind, s.nchw = nchw, s.count_include_pad = include_pad;
          check(s, 2);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(PoolTest, OtherPowers) {
  PoolShape s = shape2d(19, 8, 3, 2, 1);
  s.kind = PoolKind::lp;
  for (float p : {1.0f, 3.0f}) {
    for (bool nchw : {false, true}) {
      s.p = p, s.nchw = nchw;
      check(s, 1);
    }
  }
}

TEST_P(PoolTest, NanWinsAndInfinityIsAValue) {
  const KernelTable& kernels = kernel_table(GetParam());
  PoolShape s;
  s.channels = 37, s.input = {1, 1, 4}, s.kernel = {1, 1, 2}, s.stride = {1, 1, 2}, s.output = {1, 1, 2};
  std::vector<float> x(4 * 37, -std::numeric_limits<float>::infinity()), y(2 * 37);
  for (size_t c = 0; c < 37; ++c) x[(c % 2) * 37 + c] = std::numeric_limits<float>::quiet_NaN();
  ThreadTeam team(1);
  std::vector<std::byte> workspace(pool_workspace_bytes(s, 1));
  pool(team, kernels, s, x.data(), y.data(), workspace.data());
  for (size_t c = 0; c < 37; ++c) {
    EXPECT_TRUE(std::isnan(y[c])) << c;
    EXPECT_EQ(y[37 + c], -std::numeric_limits<float>::infinity());
  }
}

TEST_P(PoolTest, NothingToDoWritesNothing) {
  PoolShape s = shape2d(4, 5, 3, 1, 1);
  s.batch = 0;
  ThreadTeam team(2);
  pool(team, kernel_table(GetParam()), s, nullptr, nullptr, nullptr);
}

}  // namespace
}  // namespace lathe::cpu
