// GEMM, matmul and packing against double loops, for every instruction set of this machine.
#include "backends/cpu/kernels/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "backends/cpu/packing.h"
#include "base/error.h"
#include "base/half.h"
#include "tests/backends/cpu/kernel_test.h"

namespace lathe::cpu {
namespace {

constexpr int64_t kOddSizes[] = {1, 2, 3, 5, 13, 15, 16, 17, 31, 33, 63, 65, 127, 129, 200};

double activate(const Activation& f, double x) {
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  switch (f.kind) {
    case ActivationKind::none: return x;
    case ActivationKind::relu: return std::fmax(x, 0);
    case ActivationKind::clip: return std::fmin(std::fmax(x, f.a), f.b);
    case ActivationKind::leaky_relu: return x < 0 ? f.a * x : x;
    case ActivationKind::sigmoid: return sigmoid(x);
    case ActivationKind::tanh: return std::tanh(x);
    case ActivationKind::gelu_erf: return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
    case ActivationKind::gelu_tanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case ActivationKind::silu: return x * sigmoid(f.a * x);
    case ActivationKind::hard_sigmoid: return std::fmin(std::fmax(f.a * x + f.b, 0), 1);
    case ActivationKind::hard_swish: return x * std::fmin(std::fmax(x / 6 + 0.5, 0), 1);
  }
  return NAN;
}

double finish(const GemmEpilogue& e, double sum, int64_t row, int64_t col) {
  double v = e.alpha * sum + (e.bias != nullptr ? e.bias[col] : 0);
  const double residual = e.residual != nullptr ? e.residual[row * e.ld_residual + col] : 0;
  return e.residual_after_activation ? activate(e.activation, v) + residual : activate(e.activation, v + residual);
}

double tolerance(int64_t k) { return 1e-6 * (2 + std::sqrt(static_cast<double>(k)) * 4); }

struct Operands {
  Operands(int nr, int64_t m, int64_t n, int64_t k, uint32_t seed = 1)
      : a(Buffer::random(m * (k + 3), seed)), b(Buffer::random(k * n, seed + 1)), packed(packed_b_floats(nr, k, n)) {
    pack_b(nr, {b.data(), DType::f32, n, 1}, k, n, {0, panel_count(nr, n)}, packed.data());
  }
  Buffer a, b, packed;
};

double dot(const float* a, const float* b, int64_t stride_b, int64_t k) {
  double sum = 0;
  for (int64_t i = 0; i < k; ++i) sum += static_cast<double>(a[i]) * b[i * stride_b];
  return sum;
}

class GemmTest : public KernelTest {
 protected:
  // Runs one product with the given epilogue (its c and ldc are filled in here) and compares every element.
  void check(int64_t m, int64_t n, int64_t k, int threads, GemmEpilogue epilogue = {}) {
    SCOPED_TRACE(testing::Message() << m << " x " << n << " x " << k << ", threads " << threads);
    const GemmKernels& gemm_kernels = kernels().gemm;
    Operands operands(gemm_kernels.nr, m, n, k);
    const int64_t lda = k + 3, ldc = n + 1;
    Buffer c(m * ldc, 7.0f);
    epilogue.c = c.data();
    epilogue.ldc = ldc;
    ThreadTeam team(threads, {.spin = std::chrono::nanoseconds(0)});
    gemm(team, kernels(), {m, n, k, operands.a.data(), lda, operands.packed.data(), epilogue});
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        const double want = finish(epilogue, dot(operands.a.data() + i * lda, operands.b.data() + j, n, k), i, j);
        ASSERT_NEAR(c[i * ldc + j], want, tolerance(k)) << "row " << i << " column " << j;
      }
      ASSERT_EQ(c[i * ldc + n], 7.0f) << "the gap after row " << i << " was written";
    }
  }
};
LATHE_FOR_EACH_ISA(GemmTest);

TEST_P(GemmTest, EveryRowCount) {
  for (int64_t m = 1; m <= 45; ++m) check(m, 37, 19, 1);
}

TEST_P(GemmTest, OddSizes) {
  for (int64_t m : kOddSizes)
    for (int64_t n : kOddSizes) check(m, n, 21, 2);
  for (int64_t k : kOddSizes) check(17, 65, k, 3);
}

TEST_P(GemmTest, ManyRowsAreBlockedForCache) { check(333, 33, 2500, 2); }

TEST_P(GemmTest, MoreThreadsThanWork) {
  check(1, 1, 1, 5);
  check(40, 8, 16, 7);
  check(3, 200, 16, 6);
}

TEST_P(GemmTest, ZeroSizes) {
  check(0, 5, 5, 2);
  check(5, 0, 5, 2);
  check(5, 5, 0, 2);
  const Buffer bias = Buffer::random(5, 3);
  check(5, 5, 0, 1, {.bias = bias.data()});
}

TEST_P(GemmTest, EveryActivation) {
  const Buffer bias = Buffer::random(70, 3, -3, 3);
  for (int kind = 0; kind <= static_cast<int>(ActivationKind::hard_swish); ++kind) {
    SCOPED_TRACE(kind);
    const Activation activation{static_cast<ActivationKind>(kind), 0.3f, 0.9f};
    check(27, 70, 20, 2, {.alpha = 1.5f, .bias = bias.data(), .activation = activation});
  }
}

TEST_P(GemmTest, Residual) {
  const Buffer bias = Buffer::random(67, 3), residual = Buffer::random(29 * 71, 4);
  for (bool after : {false, true}) {
    check(29, 67, 20, 2,
          {.alpha = 0.5f,
           .bias = bias.data(),
           .residual = residual.data(),
           .ld_residual = 71,
           .residual_after_activation = after,
           .activation = {ActivationKind::relu}});
  }
}

TEST_P(GemmTest, ResidualMayBeTheOutput) {
  const GemmKernels& gemm_kernels = kernels().gemm;
  Operands operands(gemm_kernels.nr, 30, 45, 12);
  Buffer c = Buffer::random(30 * 45, 9);
  const Buffer before = c;
  ThreadTeam team(2);
  gemm(team, kernels(),
       {30,
        45,
        12,
        operands.a.data(),
        15,
        operands.packed.data(),
        {.residual = c.data(), .ld_residual = 45, .c = c.data(), .ldc = 45}});
  for (int64_t i = 0; i < 30; ++i)
    for (int64_t j = 0; j < 45; ++j)
      ASSERT_NEAR(c[i * 45 + j], dot(operands.a.data() + i * 15, operands.b.data() + j, 45, 12) + before[i * 45 + j],
                  tolerance(12));
}

TEST_P(GemmTest, PostSeesEveryElementOnceAfterItIsStored) {
  const GemmKernels& gemm_kernels = kernels().gemm;
  Operands operands(gemm_kernels.nr, 61, 83, 7);
  Buffer c(61 * 83, -1000.0f);
  const auto negate = [](void* context, const GemmRegion& region) noexcept {
    float* data = static_cast<float*>(context);
    for (int64_t i = region.row_begin; i < region.row_end; ++i)
      for (int64_t j = region.col_begin; j < region.col_end; ++j) data[i * 83 + j] *= -1;
  };
  ThreadTeam team(2);
  gemm(team, kernels(),
       {61,
        83,
        7,
        operands.a.data(),
        10,
        operands.packed.data(),
        {.c = c.data(), .ldc = 83, .post = negate, .post_context = c.data()}});
  for (int64_t i = 0; i < 61; ++i)
    for (int64_t j = 0; j < 83; ++j)
      ASSERT_NEAR(c[i * 83 + j], -dot(operands.a.data() + i * 10, operands.b.data() + j, 83, 7), tolerance(7));
}

TEST_P(GemmTest, NanAndInfinityStayInTheirRowsAndColumns) {
  const GemmKernels& gemm_kernels = kernels().gemm;
  Operands operands(gemm_kernels.nr, 20, 40, 9);
  operands.a[4 * 12 + 2] = std::numeric_limits<float>::quiet_NaN();
  operands.packed[3 * gemm_kernels.nr + 1] = std::numeric_limits<float>::infinity();  // B(3, 1)
  Buffer c(20 * 40);
  ThreadTeam team(1);
  gemm(team, kernels(),
       {20,
        40,
        9,
        operands.a.data(),
        12,
        operands.packed.data(),
        {.activation = {ActivationKind::relu}, .c = c.data(), .ldc = 40}});
  for (int64_t i = 0; i < 20; ++i)
    for (int64_t j = 0; j < 40; ++j) {
      ASSERT_EQ(std::isnan(c[i * 40 + j]), i == 4) << i << ' ' << j;
      ASSERT_TRUE(j == 1 || !std::isinf(c[i * 40 + j])) << i << ' ' << j;
    }
}

TEST_P(GemmTest, AccumulatingTilesAddToTheOutput) {
  const GemmKernels& gemm_kernels = kernels().gemm;
  for (int rows = 1; rows <= gemm_kernels.max_rows; ++rows) {
    for (int cols : {1, gemm_kernels.nr / 2, gemm_kernels.nr - 1, gemm_kernels.nr}) {
      Operands operands(gemm_kernels.nr, rows, cols, 11);
      Buffer c(rows * cols, 2.0f);
      gemm_kernels.tile[rows](
          {operands.a.data(), 14, operands.packed.data(), gemm_kernels.nr, 11, c.data(), cols, cols, true, nullptr});
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < cols; ++j)
          ASSERT_NEAR(c[i * cols + j], 2 + dot(operands.a.data() + i * 14, operands.b.data() + j, cols, 11),
                      tolerance(11));
    }
  }
}

class MatmulTest : public KernelTest {
 protected:
  // [2][3] batches; A repeats over the outer level, B over the inner one when `share_b`.
  void check(int64_t m, int64_t n, int64_t k, bool transposed_b, bool share_b, int threads) {
    SCOPED_TRACE(testing::Message() << m << " x " << n << " x " << k << " transposed " << transposed_b);
    const Buffer a = Buffer::random(3 * m * k, 1), b = Buffer::random(6 * k * n, 2), bias = Buffer::random(n, 3);
    const Buffer residual = Buffer::random(6 * m * n, 4);
    Buffer c(6 * m * n);
    const int64_t inner_b = share_b ? 0 : k * n;
    const Matmul mm{
        m,
        n,
        k,
        a.data(),
        k,
        b.data(),
        transposed_b ? 1 : n,
        transposed_b ? k : 1,
        {.count = 2, .b = 3 * k * n, .c = 3 * m * n, .residual = 3 * m * n},
        {.count = 3, .a = m * k, .b = inner_b, .c = m * n, .residual = m * n},
        {.alpha = 0.25f, .bias = bias.data(), .residual = residual.data(), .ld_residual = n, .c = c.data(), .ldc = n}};
    ThreadTeam team(threads, {.spin = std::chrono::nanoseconds(0)});
    Buffer workspace(matmul_workspace_floats(kernels().gemm, mm, threads));
    matmul(team, kernels().gemm, mm, workspace.data());
    for (int64_t batch = 0; batch < 6; ++batch) {
      const float* a0 = a.data() + batch % 3 * m * k;
      const float* b0 = b.data() + batch / 3 * 3 * k * n + batch % 3 * inner_b;
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
          const int64_t at = (batch * m + i) * n + j;
          const double sum = transposed_b ? dot(a0 + i * k, b0 + j * k, 1, k) : dot(a0 + i * k, b0 + j, n, k);
          ASSERT_NEAR(c[at], 0.25 * sum + bias[j] + residual[at], tolerance(k)) << batch << ' ' << i << ' ' << j;
        }
    }
  }
};
LATHE_FOR_EACH_ISA(MatmulTest);

TEST_P(MatmulTest, OddSizes) {
  for (bool transposed : {false, true})
    for (bool share : {false, true})
      for (int64_t m : {1, 3, 17, 65})
        for (int64_t n : {1, 5, 33, 63})
          for (int64_t k : {1, 16, 31}) check(m, n, k, transposed, share, 2);
}

TEST_P(MatmulTest, MoreThreadsThanPanels) { check(100, 3, 10, true, false, 16); }

TEST_P(MatmulTest, ZeroSizes) {
  check(0, 3, 4, false, false, 2);
  check(3, 0, 4, false, false, 2);
  check(3, 3, 0, true, false, 2);
}

TEST(PackTest, UnpackIsTheExactInverse) {
  for (int nr : {8, 16, 32})
    for (int64_t n : kOddSizes)
      for (int64_t k : {1, 15, 33}) {
        const Buffer b = Buffer::random(k * n, 5);
        Buffer packed(packed_b_floats(nr, k, n), 9.0f), transposed(k * n);
        pack_b(nr, {b.data(), DType::f32, n, 1}, k, n, {0, panel_count(nr, n)}, packed.data());
        unpack_b(nr, packed.data(), k, n, transposed.data(), 1, k);
        for (int64_t i = 0; i < k; ++i)
          for (int64_t j = 0; j < n; ++j) ASSERT_EQ(transposed[j * k + i], b[i * n + j]);
      }
}

TEST(PackTest, PanelsCanBePackedOneByOne) {
  const Buffer b = Buffer::random(50 * 7, 5);
  Buffer whole(packed_b_floats(16, 7, 50)), parts(packed_b_floats(16, 7, 50));
  pack_b(16, {b.data(), DType::f32, 1, 7}, 7, 50, {0, 4}, whole.data());
  for (int64_t panel = 0; panel < 4; ++panel)
    pack_b(16, {b.data(), DType::f32, 1, 7}, 7, 50, {panel, panel + 1}, parts.data() + panel * 7 * 16);
  for (int64_t i = 0; i < whole.size(); ++i) ASSERT_EQ(whole[i], parts[i]);
  EXPECT_EQ(whole[3 * 7 * 16 + 2], 0.0f) << "column 50 is padding";
  EXPECT_EQ(whole[3 * 7 * 16 + 1], b[49 * 7]);
}

// A view of a model file starts wherever the file has it; the undefined behaviour sanitizer watches.
TEST(PackTest, WeightsMayLieAnywhere) {
  Tensor weight(DType::f32, {5, 24});
  for (int64_t i = 0; i < weight.elements(); ++i) weight.write_double(i, static_cast<double>(i) / 8);
  std::vector<std::byte> file(weight.bytes().size() + 1);
  std::copy(weight.bytes().begin(), weight.bytes().end(), file.begin() + 1);
  const Tensor view = Tensor::view(DType::f32, weight.dims(), std::span(file).subspan(1), nullptr);
  const Tensor gates = weight.reshaped({1, 24, 5}), gates_view = view.reshaped({1, 24, 5});
  const auto packed = [](const WeightLayout& layout, const Tensor& source) {
    std::vector<std::byte> bytes(packed_bytes(layout, source.dims()));
    pack(layout, source, bytes);
    return bytes;
  };
  EXPECT_EQ(packed(gemm_panels(DType::f32, 16, false), view), packed(gemm_panels(DType::f32, 16, false), weight));
  EXPECT_EQ(packed(gate_panels(16, 4), gates_view), packed(gate_panels(16, 4), gates));
}

TEST(PackTest, EverySourceType) {
  const float values[] = {0.5f, -2.0f, 65504.0f, 0x1p-24f};
  float packed[8];
  const auto check = [&](auto example, DType type) {
    using T = decltype(example);
    T source[4];
    for (int i = 0; i < 4; ++i) source[i] = static_cast<T>(values[i]);
    pack_b(8, {source, type, 4, 1}, 1, 4, {0, 1}, packed);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(packed[i], static_cast<float>(source[i])) << to_string(type) << ' ' << i;
    EXPECT_EQ(packed[7], 0.0f);
  };
  check(1.0f, DType::f32);
  check(1.0, DType::f64);
  check(Half(), DType::f16);
  check(BFloat16(), DType::bf16);
  EXPECT_THROW(pack_b(8, {values, DType::i32, 4, 1}, 1, 4, {0, 1}, packed), Error);
}

}  // namespace
}  // namespace lathe::cpu
