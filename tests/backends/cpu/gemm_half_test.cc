// Products with weights of f16 and bf16, for every instruction set of this machine, and the units that multiply bf16,
// where it has them.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "backends/cpu/kernels/gemm.h"
#include "backends/cpu/kernels/gemm_bf16.h"
#include "backends/cpu/kernels/gemm_narrow.h"
#include "base/half.h"
#include "tests/backends/cpu/kernel_test.h"

namespace lathe::cpu {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
constexpr PanelType kHalves[] = {PanelType::f16, PanelType::bf16};

uint16_t narrow(PanelType type, float x) { return type == PanelType::f16 ? Half(x).bits : BFloat16(x).bits; }
float widen(PanelType type, uint16_t bits) {
  if (type == PanelType::f16) return Half::to_float(bits);
  BFloat16 x;
  x.bits = bits;
  return static_cast<float>(x);
}
DType dtype(PanelType type) { return type == PanelType::f16 ? DType::f16 : DType::bf16; }

// A product of `type` weights, its panels one element off any alignment, and the same weights as floats.
struct Product {
  Product(PanelType panels, int nr, int64_t rows, int64_t columns, int64_t depth)
      : type(panels),
        width(nr),
        m(rows),
        n(columns),
        k(depth),
        a(Buffer::random(m * (k + 3), 1)),
        b(Buffer::random(k * n, 2)) {
    pack();
  }
  // After a change of b, which is rounded here.
  void pack() {
    std::vector<uint16_t> bits(static_cast<size_t>(k * n));
    for (int64_t i = 0; i < k * n; ++i) {
      bits[static_cast<size_t>(i)] = narrow(type, b[i]);
      b[i] = widen(type, bits[static_cast<size_t>(i)]);
    }
    storage.assign(static_cast<size_t>(packed_b_bytes(type, width, k, n) / 2 + 1), 0xffff);
    pack_half_b(type, width, {bits.data(), dtype(type), n, 1}, k, n, storage.data() + 1);
  }
  Gemm gemm(float* c) const {
    Gemm g{m, n, k, a.data(), k + 3, storage.data() + 1, {}, type};
    g.epilogue.c = c;
    g.epilogue.ldc = n + 1;
    return g;
  }
  double expected(int64_t i, int64_t j, bool rounded = false) const {
    double sum = 0;
    for (int64_t l = 0; l < k; ++l) {
      const float x = a[i * (k + 3) + l];
      sum += static_cast<double>(rounded ? widen(PanelType::bf16, narrow(PanelType::bf16, x)) : x) * b[l * n + j];
    }
    return sum;
  }
  void expect(const Buffer& c, bool rounded = false) const {
    const double tolerance = 2e-6 * (2 + std::sqrt(static_cast<double>(k)) * 4);
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j)
        ASSERT_NEAR(c[i * (n + 1) + j], expected(i, j, rounded), tolerance) << "row " << i << " column " << j;
      ASSERT_EQ(c[i * (n + 1) + n], 7.0f) << "the gap after row " << i << " was written";
    }
  }

  PanelType type;
  int width;
  int64_t m, n, k;
  Buffer a, b;
  std::vector<uint16_t> storage;
};

class GemmHalfTest : public KernelTest {
 protected:
  void check(int64_t m, int64_t n, int64_t k, int threads) {
    for (const PanelType type : kHalves) {
      SCOPED_TRACE(testing::Message() << m << " x " << n << " x " << k << ' ' << to_string(dtype(type)));
      const Product product(type, kernels().gemm.nr, m, n, k);
      Buffer c(m * (n + 1), 7.0f);
      const Gemm g = product.gemm(c.data());
      Buffer workspace(gemm_workspace_floats(kernels(), g, threads));
      ThreadTeam team(threads, {.spin = std::chrono::nanoseconds(0)});
      gemm(team, kernels(), g, workspace.data());
      product.expect(c);
    }
  }
};
LATHE_FOR_EACH_ISA(GemmHalfTest);

TEST_P(GemmHalfTest, EveryRowCount) {
  for (int64_t m = 1; m <= 45; ++m) check(m, 37, 19, 1);
}

TEST_P(GemmHalfTest, OddSizes) {
  for (const int64_t m : {1, 3, 8, 9, 29})
    for (const int64_t n : {1, 15, 16, 17, 31, 33, 65, 129})
      for (const int64_t k : {1, 2, 3, 64, 101}) check(m, n, k, 2);
}

TEST_P(GemmHalfTest, ZeroSizesAndMoreThreadsThanWork) {
  check(0, 5, 5, 2);
  check(5, 0, 5, 2);
  check(5, 5, 0, 2);
  check(40, 5, 0, 2);
  check(1, 1, 1, 5);
  check(40, 8, 16, 7);
}

TEST_P(GemmHalfTest, ManyRowsAreBlockedForCache) { check(333, 33, 2500, 2); }

TEST_P(GemmHalfTest, Epilogue) {
  const Buffer bias = Buffer::random(67, 3), residual = Buffer::random(29 * 71, 4);
  for (const PanelType type : kHalves) {
    for (const int64_t m : {2, 29}) {
      const Product product(type, kernels().gemm.nr, m, 67, 20);
      Buffer c(m * 68, 7.0f);
      Gemm g = product.gemm(c.data());
      g.epilogue.alpha = 0.5f;
      g.epilogue.bias = bias.data();
      g.epilogue.residual = residual.data();
      g.epilogue.ld_residual = 71;
      g.epilogue.activation = {ActivationKind::relu};
      Buffer workspace(gemm_workspace_floats(kernels(), g, 2));
      ThreadTeam team(2);
      gemm(team, kernels(), g, workspace.data());
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < 67; ++j)
          ASSERT_NEAR(c[i * 68 + j], std::fmax(0.5 * product.expected(i, j) + bias[j] + residual[i * 71 + j], 0), 2e-5);
    }
  }
}

TEST_P(GemmHalfTest, PostSeesEveryElementOnceAfterItIsStored) {
  const auto negate = [](void* context, const GemmRegion& region) noexcept {
    for (int64_t i = region.row_begin; i < region.row_end; ++i)
      for (int64_t j = region.col_begin; j < region.col_end; ++j) static_cast<float*>(context)[i * 84 + j] *= -1;
  };
  for (const int64_t m : {3, 61}) {
    Product product(PanelType::f16, kernels().gemm.nr, m, 83, 7);
    Buffer c(m * 84, 7.0f);
    Gemm g = product.gemm(c.data());
    g.epilogue.post = negate;
    g.epilogue.post_context = c.data();
    Buffer workspace(gemm_workspace_floats(kernels(), g, 2));
    ThreadTeam team(2);
    gemm(team, kernels(), g, workspace.data());
    for (int64_t i = 0; i < product.a.size(); ++i) product.a[i] *= -1;
    product.expect(c);
  }
}

// Weights that are subnormal in 16 bits, the largest ones, infinities and NaN; rows of one element pick them out.
TEST_P(GemmHalfTest, EveryWeightIsWidenedExactly) {
  for (const PanelType type : kHalves) {
    constexpr int64_t kCount = 1 << 16;
    std::vector<uint16_t> bits(kCount);
    for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
    const int nr = kernels().gemm.nr;
    for (const int64_t k : {kCount / nr, int64_t{1}}) {  // wholly, and the odd row at the end
      const int64_t n = kCount / k;
      std::vector<uint16_t> packed(static_cast<size_t>(packed_b_bytes(type, nr, k, n) / 2));
      pack_half_b(type, nr, {bits.data(), dtype(type), n, 1}, k, n, packed.data());
      std::vector<float> wide(static_cast<size_t>(k * nr));
      for (int64_t panel = 0; panel < n / nr; ++panel) {
        kernels().gemm_stream.widen[static_cast<int>(type)](packed.data() + panel * packed_b_bytes(type, nr, k, nr) / 2,
                                                            k, wide.data());
        for (int64_t i = 0; i < k; ++i) {
          for (int64_t j = 0; j < nr; ++j) {
            const float expected = widen(type, bits[static_cast<size_t>(i * n + panel * nr + j)]);
            const float actual = wide[static_cast<size_t>(i * nr + j)];
            ASSERT_TRUE(std::isnan(expected) ? std::isnan(actual) : std::memcmp(&expected, &actual, sizeof(float)) == 0)
                << expected << " became " << actual;
          }
        }
      }
    }
  }
}

TEST_P(GemmHalfTest, NanAndInfinityStayInTheirRowsAndColumns) {
  for (const PanelType type : kHalves) {
    for (const int64_t m : {3, 20}) {
      Product product(type, kernels().gemm.nr, m, 40, 9);
      for (int64_t i = 0; i < m; ++i) product.a[i * 12 + 3] = 1;
      product.a[1 * 12 + 2] = kNan;
      product.b[3 * 40 + 1] = kInf;
      product.pack();
      Buffer c(m * 41, 7.0f);
      const Gemm g = product.gemm(c.data());
      Buffer workspace(gemm_workspace_floats(kernels(), g, 1));
      ThreadTeam team(1);
      gemm(team, kernels(), g, workspace.data());
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < 40; ++j) {
          ASSERT_EQ(std::isnan(c[i * 41 + j]), i == 1) << i << ' ' << j;
          ASSERT_EQ(std::isinf(c[i * 41 + j]), i != 1 && j == 1) << i << ' ' << j;
        }
    }
  }
}

TEST_P(GemmHalfTest, FewColumns) {
  for (const PanelType type : kHalves) {
    for (const int64_t n : {1, 3, 4, 7, 16}) {
      for (const int64_t k : {128, 131}) {
        for (const int64_t m : {0, 1, 5, 37}) {
          const Product product(type, 1, m, n, k);
          Buffer c(m * (n + 1), 7.0f);
          ThreadTeam team(2);
          gemm_narrow(team, kernels(), product.gemm(c.data()));
          product.expect(c);
        }
      }
    }
  }
}

TEST(PackHalfTest, UnpackIsTheExactInverse) {
  for (const PanelType type : kHalves)
    for (const int nr : {1, 8, 32})
      for (const int64_t n : {1, 8, 33})
        for (const int64_t k : {0, 1, 2, 15, 33}) {
          std::vector<uint16_t> b(static_cast<size_t>(k * n)), back(b.size()), transposed(b.size());
          for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<uint16_t>(i * 2654435761u >> 7);
          std::vector<uint16_t> packed(static_cast<size_t>(packed_b_bytes(type, nr, k, n) / 2), 0xffff);
          pack_half_b(type, nr, {b.data(), dtype(type), n, 1}, k, n, packed.data());
          unpack_half_b(type, nr, packed.data(), k, n, back.data(), n, 1);
          EXPECT_EQ(back, b);
          unpack_half_b(type, nr, packed.data(), k, n, transposed.data(), 1, k);
          std::vector<uint16_t> again(packed.size());
          pack_half_b(type, nr, {transposed.data(), dtype(type), 1, k}, k, n, again.data());
          EXPECT_EQ(again, packed);
        }
}

// The units of this machine that multiply bf16.
class GemmBf16Test : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    unit_ = bf16_unit(detect_cpu_features(), GetParam());
    if (unit_ == nullptr) GTEST_SKIP() << "this machine has no such unit";
  }

  void run(const Product& product, Buffer& c, int threads, void (*adapt)(Gemm&) = nullptr) {
    Gemm g = product.gemm(c.data());
    if (adapt != nullptr) adapt(g);
    std::vector<std::byte> workspace(static_cast<size_t>(gemm_bf16_workspace_bytes(*unit_, product.m, product.k)));
    ThreadTeam team(threads, {.spin = std::chrono::nanoseconds(0)});
    gemm_bf16(team, kernel_table(Isa::avx512), *unit_, g, workspace.data());
  }
  void check(int64_t m, int64_t n, int64_t k, int threads) {
    SCOPED_TRACE(testing::Message() << m << " x " << n << " x " << k);
    const Product product(PanelType::bf16, kernel_table(Isa::avx512).gemm.nr, m, n, k);
    Buffer c(m * (n + 1), 7.0f);
    run(product, c, threads);
    product.expect(c, true);
  }

  const GemmBf16Kernels* unit_ = nullptr;
};
std::string unit_name(const testing::TestParamInfo<bool>& info) { return info.param ? "tiles" : "dots"; }
INSTANTIATE_TEST_SUITE_P(Unit, GemmBf16Test, testing::Bool(), unit_name);

TEST_P(GemmBf16Test, EveryRowCount) {
  for (int64_t m = 1; m <= 70; ++m) check(m, 37, 35, 1);
}

TEST_P(GemmBf16Test, OddSizes) {
  for (const int64_t m : {1, 3, 16, 29, 33})
    for (const int64_t n : {1, 31, 32, 33, 100})
      for (const int64_t k : {1, 2, 31, 32, 33, 64, 191}) check(m, n, k, 2);
}

TEST_P(GemmBf16Test, ZeroSizesAndMoreThreadsThanWork) {
  check(0, 5, 5, 2);
  check(5, 0, 5, 2);
  check(5, 5, 0, 2);
  check(1, 1, 1, 5);
  check(40, 8, 16, 7);
}

TEST_P(GemmBf16Test, ManyRowsAreBlockedForCache) { check(700, 65, 1500, 2); }

TEST_P(GemmBf16Test, Epilogue) {
  const Product product(PanelType::bf16, kernel_table(Isa::avx512).gemm.nr, 29, 67, 20);
  Buffer c(29 * 68, 7.0f);
  run(product, c, 2, [](Gemm& g) {
    g.epilogue.alpha = 0.5f;
    g.epilogue.activation = {ActivationKind::relu};
  });
  for (int64_t i = 0; i < 29; ++i)
    for (int64_t j = 0; j < 67; ++j) ASSERT_NEAR(c[i * 68 + j], std::fmax(0.5 * product.expected(i, j, true), 0), 2e-5);
}

TEST_P(GemmBf16Test, NanAndInfinityStayInTheirRowsAndColumns) {
  Product product(PanelType::bf16, kernel_table(Isa::avx512).gemm.nr, 20, 40, 33);
  for (int64_t i = 0; i < 20; ++i) product.a[i * 36 + 32] = 1;
  product.a[1 * 36 + 2] = std::bit_cast<float>(0x7f800001u);  // a NaN that would be cut to an infinity
  product.a[5 * 36 + 32] = -kInf;
  product.b[32 * 40 + 1] = kInf;
  product.pack();
  Buffer c(20 * 41, 7.0f);
  run(product, c, 1);
  for (int64_t i = 0; i < 20; ++i)
    for (int64_t j = 0; j < 40; ++j) {
      ASSERT_EQ(std::isnan(c[i * 41 + j]), i == 1) << i << ' ' << j;
      ASSERT_EQ(std::isinf(c[i * 41 + j]), i != 1 && (j == 1 || i == 5)) << i << ' ' << j;
    }
}

TEST_P(GemmBf16Test, RoundsToNearestEven) {
  Product product(PanelType::bf16, kernel_table(Isa::avx512).gemm.nr, 6, 1, 1);
  const float values[] = {0x1.01p0f, 0x1.03p0f, 0x1.010002p0f, 0x1.fffp127f, -0x1.01p-100f, 0};
  const float rounded[] = {1, 0x1.04p0f, 0x1.02p0f, kInf, -0x1p-100f, 0};
  for (int64_t i = 0; i < 6; ++i) product.a[i * 4] = values[i];
  product.b[0] = 1;
  product.pack();
  Buffer c(6 * 2, 7.0f);
  run(product, c, 1);
  for (int64_t i = 0; i < 6; ++i) EXPECT_EQ(c[i * 2], rounded[i]);
}

}  // namespace
}  // namespace lathe::cpu
