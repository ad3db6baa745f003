// Strided copies, transposition, padding and gathering, against index arithmetic on single elements.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "backends/cpu/kernels/copy.h"
#include "backends/cpu/kernels/gather.h"
#include "base/error.h"
#include "tests/backends/cpu/reference_data.h"

namespace lathe::cpu {
namespace {

using Dims = std::vector<int64_t>;

class CopyTest : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam() > detect_cpu_features().best_isa) GTEST_SKIP() << "not on this machine";
  }
  const KernelTable& kernels() const { return kernel_table(GetParam()); }
  ThreadTeam team_{2};
};
INSTANTIATE_TEST_SUITE_P(Isa, CopyTest, testing::Values(Isa::generic, Isa::avx2, Isa::avx512),
                         [](const auto& instance) { return std::string(to_string(instance.param)); });

// Elements of any size that all differ in their first bytes.
std::vector<std::byte> numbered(int64_t count, int64_t element_bytes) {
  std::vector<std::byte> bytes(static_cast<size_t>(count * element_bytes));
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>((i * 7 + i / 251) & 0xff);
  return bytes;
}

void expect_transposed(ThreadTeam& team, const KernelTable& kernels, int64_t bytes, const Dims& dims,
                       const Dims& permutation) {
  const auto from = numbered(product(dims), bytes);
  std::vector<std::byte> to(from.size());
  transpose(team, kernels, bytes, dims, permutation, from.data(), to.data());
  Dims to_dims;
  for (int64_t axis : permutation) to_dims.push_back(dims[static_cast<size_t>(axis)]);
  for (int64_t i = 0; i < product(dims); ++i) {
    const Dims index = unravel(i, to_dims);
    Dims source(dims.size());
    for (size_t a = 0; a < dims.size(); ++a) source[static_cast<size_t>(permutation[a])] = index[a];
    ASSERT_EQ(std::memcmp(&to[static_cast<size_t>(i * bytes)], &from[static_cast<size_t>(ravel(source, dims) * bytes)],
                          static_cast<size_t>(bytes)),
              0)
        << testing::PrintToString(dims) << " by " << testing::PrintToString(permutation) << " element " << i << " of "
        << bytes << " bytes";
  }
}

TEST_P(CopyTest, EveryPermutationOfFourAxes) {
  Dims permutation = {0, 1, 2, 3};
  do {
    for (int64_t bytes : {1, 2, 4, 8, 16}) expect_transposed(team_, kernels(), bytes, {3, 5, 17, 9}, permutation);
    expect_transposed(team_, kernels(), 4, {2, 1, 70, 33}, permutation);
  } while (std::next_permutation(permutation.begin(), permutation.end()));
}

TEST_P(CopyTest, MatricesOfEverySmallSize) {
  for (int64_t rows : {1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 130}) {
    for (int64_t cols : {1, 2, 3, 4, 5, 8, 9, 31, 64, 66, 200}) {
      for (int64_t bytes : {1, 2, 4, 8}) expect_transposed(team_, kernels(), bytes, {rows, cols}, {1, 0});
    }
  }
}

TEST_P(CopyTest, LayoutsRoundTrip) {
  const int64_t batch = 2, channels = 19, pixels = 77, stride = 24;
  const std::vector<float> nchw = random_floats(batch * channels * pixels, 1);
  std::vector<float> nhwc(static_cast<size_t>(batch * pixels * stride), -5.0f), back(nchw.size());
  nchw_to_nhwc(team_, kernels(), batch, channels, pixels, nchw.data(), nhwc.data(), stride);
  for (int64_t i = 0; i < batch * pixels * stride; ++i) {
    const int64_t c = i % stride, p = i / stride % pixels, n = i / stride / pixels;
    const float expect = c < channels ? nchw[static_cast<size_t>((n * channels + c) * pixels + p)] : -5.0f;
    ASSERT_EQ(nhwc[static_cast<size_t>(i)], expect);
  }
  nhwc_to_nchw(team_, kernels(), batch, channels, pixels, nhwc.data(), stride, back.data());
  EXPECT_EQ(back, nchw);
}

TEST_P(CopyTest, BroadcastReverseAndSliceByStrides) {
  const std::vector<float> from = random_floats(6 * 5, 2);
  const auto at = [&](int64_t i, int64_t j) { return from[static_cast<size_t>(i * 5 + j)]; };
  std::vector<float> to(3 * 4 * 5 * 2);
  const Dims dims = {3, 4, 5, 2}, to_strides = {40, 10, 2, 1};
  // Axis 0: every second row backwards; axis 1 and 3: broadcast.
  nd_copy(team_, kernels(), {4, dims, Dims{-10, 0, 1, 0}, to_strides}, from.data() + 5 * 5, to.data());
  for (int64_t i = 0; i < 120; ++i) {
    const Dims index = unravel(i, dims);
    ASSERT_EQ(to[static_cast<size_t>(i)], at(5 - 2 * index[0], index[2]));
  }
}

TEST_P(CopyTest, LargeCopiesAreSplitOverThreads) {
  for (int threads : {1, 2, 3}) {
    ThreadTeam team(threads);
    expect_transposed(team, kernels(), 4, {3, 200, 101}, {0, 2, 1});
    expect_transposed(team, kernels(), 4, {60600}, {0});
    expect_transposed(team, kernels(), 2, {1, 100000, 2}, {2, 1, 0});
  }
}

TEST_P(CopyTest, EmptyAndScalarTensors) {
  expect_transposed(team_, kernels(), 4, {3, 0, 2}, {2, 1, 0});
  expect_transposed(team_, kernels(), 8, {}, {});
  expect_transposed(team_, kernels(), 4, {1, 1, 1}, {2, 0, 1});
}

TEST_P(CopyTest, UnsupportedElementsAreRefused) {
  char x[24] = {}, y[24] = {};
  EXPECT_THROW(nd_copy(team_, kernels(), {3, Dims{2}, Dims{1}, Dims{1}}, x, y), Error);
  EXPECT_THROW(nd_copy(team_, kernels(), {0, Dims{2}, Dims{1}, Dims{1}}, x, y), Error);
}

TEST_P(CopyTest, FillRepeatsOneElement) {
  const int64_t value = 0x1122334455667788;
  for (int64_t count : {0, 1, 5, 20000}) {
    std::vector<int64_t> to(static_cast<size_t>(count) + 1, 7);
    fill(team_, 8, &value, count, to.data());
    EXPECT_EQ(std::count(to.begin(), to.end(), value), count);
    EXPECT_EQ(to.back(), 7);
  }
}

// NumPy's definitions, one position at a time; -1 stands for the constant.
int64_t padded_source(PadMode mode, int64_t size, int64_t at) {
  if (at >= 0 && at < size) return at;
  switch (mode) {
    case PadMode::constant: return -1;
    case PadMode::edge: return at < 0 ? 0 : size - 1;
    case PadMode::wrap: return (at % size + size) % size;
    case PadMode::reflect:
      while (at < 0 || at >= size) at = size == 1 ? 0 : at < 0 ? -at : 2 * (size - 1) - at;
      return at;
  }
  return -1;
}

TEST_P(CopyTest, PaddingMatchesItsDefinition) {
  struct Case {
    Dims dims, before, after;
  };
  const std::vector<Case> cases = {{{4, 5}, {1, 2}, {3, 0}},
                                   {{2, 3, 4}, {0, 7, -1}, {0, 5, 2}},
                                   {{5}, {-2}, {-1}},
                                   {{1, 6}, {3, 0}, {2, 0}},
                                   {{3, 4}, {0, 0}, {0, 0}},
                                   {{3, 4}, {-3, 0}, {0, 1}},
                                   {{2, 100, 90}, {1, 3, 4}, {0, 2, 1}}};
  for (const Case& c : cases) {
    for (PadMode mode : {PadMode::constant, PadMode::edge, PadMode::reflect, PadMode::wrap}) {
      Dims out_dims;
      for (size_t a = 0; a < c.dims.size(); ++a) out_dims.push_back(c.before[a] + c.dims[a] + c.after[a]);
      const std::vector<float> from = random_floats(product(c.dims), 3);
      std::vector<float> to(static_cast<size_t>(product(out_dims)));
      const float constant = 9.5f;
      pad(team_, kernels(), {4, c.dims, c.before, c.after, mode, &constant}, from.data(), to.data());
      for (int64_t i = 0; i < product(out_dims); ++i) {
        Dims source = unravel(i, out_dims);
        bool invented = false;
        for (size_t a = 0; a < source.size(); ++a) {
          source[a] = padded_source(mode, c.dims[a], source[a] - c.before[a]);
          invented = invented || source[a] < 0;
        }
        const float expect = invented ? constant : from[static_cast<size_t>(ravel(source, c.dims))];
        ASSERT_EQ(to[static_cast<size_t>(i)], expect)
            << testing::PrintToString(c.dims) << " mode " << static_cast<int>(mode) << " element " << i;
      }
    }
  }
}

TEST_P(CopyTest, PaddingOfNothing) {
  const float constant = 2.0f;
  std::vector<float> to(3);
  pad(team_, kernels(), {4, Dims{0}, Dims{1}, Dims{2}, PadMode::constant, &constant}, nullptr, to.data());
  EXPECT_EQ(to, std::vector<float>(3, constant));
  EXPECT_THROW(pad(team_, kernels(), {4, Dims{0}, Dims{1}, Dims{0}, PadMode::edge, nullptr}, nullptr, to.data()),
               Error);
  EXPECT_THROW(pad(team_, kernels(), {4, Dims{2}, Dims{-3}, Dims{0}, PadMode::constant, &constant}, nullptr, to.data()),
               Error);
}

TEST(Gather, PicksSlicesOfAnySize) {
  for (int64_t inner_bytes : {1, 4, 8, 12, 400}) {
    for (int threads : {1, 2}) {
      const int64_t outer = 3, axis = 7, count = 150;
      const auto data = numbered(outer * axis, inner_bytes);
      std::vector<int64_t> indices(static_cast<size_t>(count));
      for (int64_t i = 0; i < count; ++i) indices[static_cast<size_t>(i)] = i * 5 % 14 - 7;
      std::vector<int32_t> narrow(indices.begin(), indices.end());
      std::vector<std::byte> out(static_cast<size_t>(outer * count * inner_bytes)), out32(out.size());
      ThreadTeam team(threads);
      EXPECT_EQ(gather(team, {outer, axis, inner_bytes, count, data.data(), {indices.data(), true}, out.data()}), -1);
      EXPECT_EQ(gather(team, {outer, axis, inner_bytes, count, data.data(), {narrow.data(), false}, out32.data()}), -1);
      EXPECT_EQ(out, out32);
      for (int64_t row = 0; row < outer * count; ++row) {
        const int64_t index = (indices[static_cast<size_t>(row % count)] + axis) % axis;
        ASSERT_EQ(std::memcmp(&out[static_cast<size_t>(row * inner_bytes)],
                              &data[static_cast<size_t>((row / count * axis + index) * inner_bytes)],
                              static_cast<size_t>(inner_bytes)),
                  0);
      }
    }
  }
}

TEST(Gather, TellsWhichIndexIsBad) {
  ThreadTeam team(1);
  const std::vector<float> data(8);
  std::vector<float> out(8);
  for (int64_t bad : {int64_t{4}, int64_t{-5}, int64_t{1} << 40, -(int64_t{1} << 62)}) {
    const std::vector<int64_t> indices = {0, -4, bad, 3};
    EXPECT_EQ(gather(team, {2, 4, 4, 4, data.data(), {indices.data(), true}, out.data()}), 2) << bad;
  }
}

TEST(Gather, FromNothingOrOfNothing) {
  ThreadTeam team(1);
  const int64_t zero = 0;
  EXPECT_EQ(gather(team, {1, 0, 4, 0, nullptr, {nullptr, true}, nullptr}), -1);
  EXPECT_EQ(gather(team, {1, 0, 4, 1, nullptr, {&zero, true}, nullptr}), 0);
}

}  // namespace
}  // namespace lathe::cpu
