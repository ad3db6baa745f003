// Products with weights of a few bits against plain sums over the weights that the reference evaluator widens. Rounded
// rows are rounded here too, so that all that may differ is the order of sums.
#include "backends/cpu/kernels/matmul_nbits.h"

#include <cmath>
#include <limits>
#include <random>

#include "backends/cpu/packing.h"
#include "graph/reference/evaluator.h"
#include "tests/backends/cpu/byte_units.h"

namespace lathe::cpu {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

Tensor random(DType type, std::vector<int64_t> dims, uint32_t seed) {
  Tensor t(type, std::move(dims));
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> real(0.25, 1.5);
  for (int64_t i = 0; i < t.elements(); ++i)
    is_float(type) ? t.write_double(i, real(engine)) : t.write_int(i, static_cast<int8_t>(engine()));
  return t;
}

struct Case {
  int64_t m, n, k, block;
  DType q = DType::u4, scale = DType::f32;
  enum Zeros { none, integers, floats } zeros = none;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.m << "x" << c.n << "x" << c.k << " by " << c.block << " " << to_string(c.q) << " " << to_string(c.scale)
       << " zeros " << c.zeros;
}

// The operands of a case, packed for one instruction set.
class Weights {
 public:
  Weights(const Case& c, const KernelTable& kernels)
      : case_(c),
        q_(random(c.q, {c.n, c.k}, 1)),
        scales_(random(c.scale, {c.n, nbits_blocks(c.k, c.block)}, 2)),
        zeros_(random(c.zeros == Case::floats ? c.scale : c.q, scales_.dims(), 3)) {
    const int nr = kernels.matmul_nbits.nr;
    packed_q_ = packed(nbits_panels(nr, bit_width(c.q) == 8 ? 8 : 4, c.block), q_);
    packed_scales_ = packed(nbits_parameters(nr, c.scale), scales_);
    packed_zeros_ = packed(nbits_parameters(nr, zeros_.dtype()), zeros_);
  }

  // [k, n]
  Tensor widened() const {
    Tensor eye(DType::f32, {case_.k, case_.k});
    for (int64_t i = 0; i < case_.k; ++i) eye.write_double(i * case_.k + i, 1);
    const RefValue a = eye, q = q_, s = scales_, z = zeros_;
    const std::vector<const RefValue*> operands = {&a, &q, &s, case_.zeros == Case::none ? nullptr : &z};
    SymbolBindings symbols;
    MatMulNBits op;
    op.block = case_.block;
    return std::get<Tensor>(evaluate_op(op, operands, 1, symbols)[0]);
  }

  MatMulNBitsArgs args(const float* a, float* c, bool round_rows) const {
    const auto type = [](DType t) {
      return t == DType::f32    ? NBitsParameter::f32
             : t == DType::f16  ? NBitsParameter::f16
             : t == DType::bf16 ? NBitsParameter::bf16
                                : NBitsParameter::u8;
    };
    const int32_t half = 1 << (bit_width(case_.q) - 1);
    MatMulNBitsArgs args{case_.m, case_.n, a, {}, bit_width(case_.q) < 8, round_rows, {}};
    args.b.shape = nbits_shape(case_.k, case_.block);
    args.b.weights = reinterpret_cast<const uint8_t*>(packed_q_.data());
    args.b.scales = packed_scales_.data();
    args.b.scale_type = type(case_.scale);
    args.b.zeros = case_.zeros == Case::none ? nullptr : packed_zeros_.data();
    args.b.zero_type = type(zeros_.dtype());
    args.b.middle = half;
    args.b.zero_offset = case_.zeros == Case::floats && is_signed_int(case_.q) ? static_cast<float>(half) : 0;
    args.epilogue.c = c;
    args.epilogue.ldc = case_.n;
    return args;
  }

 private:
  // Checks that nothing is lost on the way.
  static std::vector<std::byte> packed(const WeightLayout& layout, const Tensor& t) {
    std::vector<std::byte> bytes(packed_bytes(layout, t.dims()), std::byte{0x5a});
    pack(layout, t, bytes);
    EXPECT_EQ(unpack(layout, t.dtype(), t.dims(), bytes), t);
    return bytes;
  }

  Case case_;
  Tensor q_, scales_, zeros_;
  std::vector<std::byte> packed_q_, packed_scales_, packed_zeros_;
};

// What rounding leaves of a row.
void round_row(float* row, const NBitsShape& s) {
  for (int64_t begin = 0; begin < s.k; begin += s.block) {
    for (int64_t term = begin, end = std::min(begin + s.block, s.k); term < end; term += s.step) {
      const int64_t last = std::min(term + s.step, end);
      float most = 0;
      for (int64_t i = term; i < last; ++i) most = std::max(most, std::abs(row[i]));
      if (most == 0) continue;
      const float inverse = 127 / most;
      for (int64_t i = term; i < last; ++i) row[i] = std::nearbyint(row[i] * inverse) * (most / 127);
    }
  }
}

class MatMulNBitsTest : public ByteUnitTest {
 protected:
  void check(const Case& c) {
    SCOPED_TRACE(testing::PrintToString(c));
    const Weights weights(c, kernels());
    const Tensor w = weights.widened();
    for (const bool rounded : {false, true}) {
      const Buffer a = Buffer::random(c.m * c.k, 7);
      Buffer seen = a;
      for (int64_t i = 0; rounded && i < c.m; ++i) round_row(seen.data() + i * c.k, nbits_shape(c.k, c.block));
      for (const int threads : {1, 3}) {
        SCOPED_TRACE(testing::Message() << "rounded " << rounded << ", threads " << threads);
        Buffer y(c.m * c.n, kNan);
        run(weights.args(a.data(), y.data(), rounded), threads);
        expect_product(c, seen, w, y);
      }
    }
  }

  void run(MatMulNBitsArgs args, int threads) {
    args.tiles = tiles();
    run_as_is(args, threads);
  }
  void run_as_is(const MatMulNBitsArgs& args, int threads) {
    ThreadTeam team(threads);
    std::vector<std::byte> workspace(matmul_nbits_workspace_bytes(kernels(), args, threads) + 64);
    auto* memory = workspace.data() + 63 - (reinterpret_cast<uintptr_t>(workspace.data()) + 63) % 64;
    matmul_nbits(team, kernels(), args, memory);
  }

  static void expect_product(const Case& c, const Buffer& a, const Tensor& w, const Buffer& y) {
    for (int64_t i = 0; i < c.m; ++i) {
      for (int64_t j = 0; j < c.n; ++j) {
        double sum = 0, size = 0;
        for (int64_t t = 0; t < c.k; ++t) {
          const double term = static_cast<double>(a[i * c.k + t]) * w.read_double(t * c.n + j);
          sum += term;
          size += std::abs(term);
        }
        ASSERT_NEAR(y[i * c.n + j], sum, 2e-5 * size + 1e-30) << "row " << i << " column " << j;
      }
    }
  }
};
LATHE_FOR_EACH_BYTE_UNIT(MatMulNBitsTest);

TEST_P(MatMulNBitsTest, Types) {
  for (const DType q : {DType::u4, DType::i4, DType::u8, DType::i8, DType::u2, DType::i2})
    for (const DType scale : {DType::f32, DType::f16, DType::bf16})
      for (const auto zeros : {Case::none, Case::integers, Case::floats})
        for (const int64_t m : {3, 18}) check({m, 37, 80, 32, q, scale, zeros});
}

// --deterministic relies on it: which unit multiplies depends on how many rows there are.
TEST_P(MatMulNBitsTest, TilesGiveTheBitsOfDotProducts) {
  if (tiles() == nullptr) GTEST_SKIP() << "about tiles";
  for (const auto& [k, block] :
       std::vector<std::pair<int64_t, int64_t>>{{256, 128}, {300, 300}, {96, 32}, {513, 512}}) {
    for (const DType q : {DType::u4, DType::i8}) {
      for (const auto zeros : {Case::none, Case::integers}) {
        const Case c{45, 70, k, block, q, DType::f16, zeros};
        const Weights weights(c, kernels());
        const Buffer a = Buffer::random(c.m * c.k, 11);
        Buffer y(c.m * c.n, kNan), expected(c.m * c.n, kNan);
        run(weights.args(a.data(), y.data(), true), 2);
        run_as_is(weights.args(a.data(), expected.data(), true), 2);
        for (int64_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], expected[i]) << testing::PrintToString(c) << " at " << i;
      }
    }
  }
}

TEST_P(MatMulNBitsTest, Rows) {
  for (const int64_t m : {0, 1, 2, 4, 5, 11, 12, 13, 15, 16, 17, 32, 33, 40, 70}) {
    check({m, 40, 64, 32, DType::u4, DType::f16, Case::integers});
    check({m, 70, 64, 64, DType::i8, DType::f32});
  }
}

TEST_P(MatMulNBitsTest, DepthsAndBlocks) {
  for (const auto& [k, block] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {7, 3}, {33, 32}, {31, 32}, {100, 16}, {65, 13}, {200, 200}, {300, 300}, {513, 512}, {400, 256}}) {
    check({2, 33, k, block, DType::u4, DType::f32, Case::integers});
    check({5, 5, k, block, DType::i8, DType::bf16, Case::none});
    check({17, 9, k, block, DType::i4, DType::f16, Case::floats});
    check({35, 40, k, block, DType::i8, DType::f32, Case::integers});
  }
}

TEST_P(MatMulNBitsTest, NoTermsGiveZeros) {
  const Case c{16, 3, 0, 32};
  const Weights weights(c, kernels());
  for (const bool rounded : {false, true}) {
    Buffer y(c.m * c.n, kNan);
    run(weights.args(nullptr, y.data(), rounded), 1);
    for (int64_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], 0);
  }
}

TEST_P(MatMulNBitsTest, WhatIsNotFiniteStaysInItsRow) {
  const Case c{19, 40, 96, 32};
  const Weights weights(c, kernels());
  for (const float bad : {kNan, kInf, -kInf}) {
    Buffer a = Buffer::random(c.m * c.k, 3);
    a[c.k + 50] = bad;
    for (const bool rounded : {false, true}) {
      Buffer y(c.m * c.n);
      run(weights.args(a.data(), y.data(), rounded), 2);
      for (int64_t j = 0; j < c.n; ++j) {
        EXPECT_TRUE(std::isfinite(y[j]) && std::isfinite(y[2 * c.n + j]));
        EXPECT_FALSE(std::isfinite(y[c.n + j])) << "rounded " << rounded;
        EXPECT_TRUE(!rounded || std::isnan(y[c.n + j]));
      }
    }
  }
}

TEST_P(MatMulNBitsTest, TinyAndHugeRowsRoundWithoutOverflow) {
  const Case c{16, 8, 32, 32, DType::i8};
  const Weights weights(c, kernels());
  Buffer a(c.m * c.k, 1e-42f);
  for (int64_t i = 0; i < c.k; ++i) a[c.k + i] = 3e38f;
  Buffer y(c.m * c.n, kNan);
  run(weights.args(a.data(), y.data(), true), 1);
  for (int64_t j = 0; j < c.n; ++j) EXPECT_NEAR(y[j], 0, 1e-37);
}

}  // namespace
}  // namespace lathe::cpu
