// Integer products and their packing against double loops, for every unit of this machine that multiplies bytes.
#include "backends/cpu/kernels/gemm_int8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "tests/backends/cpu/byte_units.h"

namespace lathe::cpu {
namespace {

int read(uint8_t byte, bool is_signed) { return is_signed ? static_cast<int8_t>(byte) : byte; }

struct Case {
  int64_t m, n, k;
  bool a_signed, b_signed;
};

struct Data {
  explicit Data(const Case& c, uint32_t seed = 1) : m(c.m), n(c.n), k(c.k) {
    std::mt19937 random(seed);
    const auto fill = [&](int64_t count) {
      std::vector<uint8_t> bytes(static_cast<size_t>(count));
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
      return bytes;
    };
    a = fill(m * k);
    b = fill(k * n);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        int64_t sum = 0;
        for (int64_t l = 0; l < k; ++l)
          sum += static_cast<int64_t>(read(a[static_cast<size_t>(i * k + l)], c.a_signed)) *
                 read(b[static_cast<size_t>(l * n + j)], c.b_signed);
        sums.push_back(static_cast<int32_t>(sum));
      }
  }
  int64_t m, n, k;
  std::vector<uint8_t> a, b;
  std::vector<int32_t> sums;
};

class GemmInt8Test : public ByteUnitTest {
 protected:
  std::vector<int8_t> packed(const Data& d, bool b_signed) {
    std::vector<int8_t> panels(static_cast<size_t>(int8_packed_bytes(kernels().int8.nr, d.k, d.n)));
    int8_pack(kernels().int8.nr, {d.b.data(), b_signed, d.n, 1}, d.k, d.n, panels.data());
    return panels;
  }

  template <class T>
  std::vector<T> run(const Case& c, const Data& d, Int8Epilogue epilogue, int threads = 2) {
    const std::vector<int8_t> panels = packed(d, c.b_signed);
    std::vector<T> out(static_cast<size_t>(c.m * c.n), T(77));
    epilogue.c = out.data();
    const GemmInt8 product{c.m, c.n, c.k, d.a.data(), c.a_signed, c.b_signed, panels.data(), epilogue, tiles()};
    std::vector<std::byte> workspace(gemm_int8_workspace_bytes(product));
    ThreadTeam team(threads, {.spin = std::chrono::nanoseconds(0)});
    gemm_int8(team, kernels().int8, product, workspace.data());
    return out;
  }

  void check_sums(const Case& c, const Data& d) {
    SCOPED_TRACE(testing::Message() << c.m << " x " << c.n << " x " << c.k << (c.a_signed ? " s8" : " u8")
                                    << (c.b_signed ? " s8" : " u8"));
    ASSERT_EQ(run<int32_t>(c, d, {}), d.sums);
  }
};

TEST_P(GemmInt8Test, SumsAreExact) {
  for (const bool a_signed : {false, true})
    for (const bool b_signed : {false, true})
      for (const int64_t m : {1, 2, 5, 15, 29})
        for (const int64_t n : {1, 33, 64})
          for (const int64_t k : {1, 4, 7, 130}) {
            const Case c{m, n, k, a_signed, b_signed};
            check_sums(c, Data(c));
          }
}

TEST_P(GemmInt8Test, EveryRowCount) {
  for (int64_t m = 16; m <= 70; ++m) {
    const Case c{m, 37, 132, false, true};  // read in place
    check_sums(c, Data(c));
  }
}

TEST_P(GemmInt8Test, ManyRowsAreBlockedForCache) {
  const Case c{530, 65, 2052, false, true};
  check_sums(c, Data(c));
}

TEST_P(GemmInt8Test, ExtremesDoNotSaturate) {
  for (const bool a_signed : {false, true}) {
    for (const bool b_signed : {false, true}) {
      const Case c{18, 33, 1027, a_signed, b_signed};
      for (const int a : {0, 127, 128, 255}) {
        for (const int b : {0, 127, 128, 255}) {
          Data d(c);
          std::fill(d.a.begin(), d.a.end(), static_cast<uint8_t>(a));
          std::fill(d.b.begin(), d.b.end(), static_cast<uint8_t>(b));
          const int value = read(static_cast<uint8_t>(a), a_signed) * read(static_cast<uint8_t>(b), b_signed);
          std::fill(d.sums.begin(), d.sums.end(), value * 1027);
          check_sums(c, d);
        }
      }
    }
  }
}

TEST_P(GemmInt8Test, EmptyProducts) {
  const Case no_rows{0, 5, 7, true, false}, no_columns{5, 0, 7, true, false}, no_depth{5, 7, 0, true, false};
  check_sums(no_rows, Data(no_rows));
  check_sums(no_columns, Data(no_columns));
  check_sums(no_depth, Data(no_depth));  // all zero
}

TEST_P(GemmInt8Test, ThreadsDoNotChangeTheSums) {
  const Case c{37, 130, 70, true, true};
  const Data d(c);
  for (const int threads : {1, 3, 4}) EXPECT_EQ(run<int32_t>(c, d, {}, threads), d.sums);
}

TEST_P(GemmInt8Test, UnpackingIsTheInverse) {
  for (const bool b_signed : {false, true}) {
    const Case c{1, 45, 39, false, b_signed};
    const Data d(c);
    const std::vector<int8_t> panels = packed(d, b_signed);
    std::vector<uint8_t> plain(d.b.size());
    int8_unpack(kernels().int8.nr, panels.data(), c.k, c.n, {plain.data(), b_signed, c.n, 1});
    EXPECT_EQ(plain, d.b);
    std::vector<uint8_t> transposed(d.b.size());
    for (int64_t k = 0; k < c.k; ++k)
      for (int64_t n = 0; n < c.n; ++n)
        transposed[static_cast<size_t>(n * c.k + k)] = d.b[static_cast<size_t>(k * c.n + n)];
    std::vector<int8_t> again(panels.size());
    int8_pack(kernels().int8.nr, {transposed.data(), b_signed, 1, c.k}, c.k, c.n, again.data());
    EXPECT_EQ(again, panels);
  }
}

template <class T>
std::vector<T> random_values(int64_t n, double low, double high, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> values(low, high);
  std::vector<T> result(static_cast<size_t>(n));
  for (T& v : result) v = static_cast<T>(values(random));
  return result;
}

// Every part of the epilogue at once.
struct FullEpilogue {
  std::vector<int32_t> col_add, rows[2], cols[2];
  std::vector<float> row_scale, col_scale, bias, residual;
  Int8Epilogue epilogue;

  FullEpilogue(int64_t m, int64_t n)
      : col_add(random_values<int32_t>(n, -1000, 1000, 2)),
        rows{random_values<int32_t>(m, -99, 99, 3), random_values<int32_t>(m, -99, 99, 4)},
        cols{random_values<int32_t>(n, -99, 99, 5), random_values<int32_t>(n, -99, 99, 6)},
        row_scale(random_values<float>(m, 0.5, 2, 7)),
        col_scale(random_values<float>(n, 1e-6, 2e-5, 8)),
        bias(random_values<float>(n, -1, 1, 9)),
        residual(random_values<float>(m * n, -1, 1, 10)) {
    epilogue.col_add = col_add.data();
    for (int i = 0; i < 2; ++i) {
      epilogue.row_factors[i] = rows[i].data();
      epilogue.col_factors[i] = cols[i].data();
    }
    epilogue.row_scale = row_scale.data();
    epilogue.col_scale = col_scale.data();
    epilogue.bias = bias.data();
    epilogue.residual = residual.data();
    epilogue.residual_type = Int8Residual::f32;
    epilogue.activation = {ActivationKind::relu};
  }

  double scaled(int32_t sum, int64_t i, int64_t j) const {
    const auto r = static_cast<size_t>(i), c = static_cast<size_t>(j);
    const int32_t t = sum + col_add[c] + rows[0][r] * cols[0][c] + rows[1][r] * cols[1][c];
    return static_cast<double>(t) * col_scale[c] * row_scale[r] + bias[c];
  }
};

TEST_P(GemmInt8Test, Epilogue) {
  const Case c{17, 70, 260, true, false};
  const Data d(c);
  FullEpilogue full(c.m, c.n);
  for (const bool last : {false, true}) {
    full.epilogue.result = Int8Result::f32;
    full.epilogue.residual_last = last;
    const std::vector<float> got = run<float>(c, d, full.epilogue);
    for (size_t at = 0; at < got.size(); ++at) {
      const auto i = static_cast<int64_t>(at) / c.n, j = static_cast<int64_t>(at) % c.n;
      const double x = full.scaled(d.sums[at], i, j), r = full.residual[at];
      ASSERT_NEAR(got[at], last ? std::max(x, 0.0) + r : std::max(x + r, 0.0), 1e-5) << at;
    }
  }
}

TEST_P(GemmInt8Test, RequantisedResult) {
  const Case c{19, 70, 260, false, true};
  const Data d(c);
  FullEpilogue full(c.m, c.n);
  full.epilogue.residual_type = Int8Residual::none;
  full.epilogue.activation = {};
  full.epilogue.result = Int8Result::bytes;
  for (const bool is_signed : {false, true}) {
    const Int8Requantize q{0.01f, is_signed ? -3.0f : 120.0f, is_signed ? -128.0f : 0.0f, is_signed ? 127.0f : 255.0f};
    full.epilogue.requantize = q;
    const std::vector<uint8_t> got = run<uint8_t>(c, d, full.epilogue);
    int saturated = 0;
    for (size_t at = 0; at < got.size(); ++at) {
      const double x = full.scaled(d.sums[at], static_cast<int64_t>(at) / c.n, static_cast<int64_t>(at) % c.n);
      const double want = std::fmin(std::fmax(std::nearbyint(x / q.scale) + q.zero, q.low), q.high);
      saturated += want == q.low || want == q.high;
      ASSERT_NEAR(read(got[at], is_signed), want, 1) << at;  // a float and a double may round to either side
    }
    EXPECT_GT(saturated, 10);
  }
}

TEST_P(GemmInt8Test, RoundTripAndQuantisedResidual) {
  const Case c{21, 37, 64, false, true};
  const Data d(c);
  const std::vector<float> scale(static_cast<size_t>(c.n), 1.0f / 1024);  // exact arithmetic throughout
  for (const bool is_signed : {false, true}) {
    std::vector<uint8_t> residual = random_values<uint8_t>(c.m * c.n, 0, 255, 3);
    Int8Epilogue e;
    e.col_scale = scale.data();
    e.round_trip = true;
    e.middle = {2, 128, 0, 255};
    e.middle_scale = 4;
    e.residual_type = is_signed ? Int8Residual::s8 : Int8Residual::u8;
    e.residual = residual.data();
    e.residual_scale = 0.5f;
    e.residual_zero = 7;
    e.residual_last = true;
    e.last_activation = {ActivationKind::relu};
    e.result = Int8Result::bytes;
    e.requantize = {1, 3, 0, 255};
    const std::vector<uint8_t> got = run<uint8_t>(c, d, e);
    for (size_t at = 0; at < got.size(); ++at) {
      const double x = static_cast<double>(d.sums[at]) / 1024;
      const double middle = (std::fmin(std::fmax(std::nearbyint(x / 2) + 128, 0), 255) - 128) * 4;
      const double sum = std::fmax(middle + (read(residual[at], is_signed) - 7) * 0.5, 0);
      ASSERT_EQ(got[at], std::fmin(std::nearbyint(sum) + 3, 255)) << at;
    }
  }
}

LATHE_FOR_EACH_BYTE_UNIT(GemmInt8Test);

}  // namespace
}  // namespace lathe::cpu
