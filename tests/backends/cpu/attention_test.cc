// Attention against a triple loop in double precision, for every instruction set of this machine, and for the units
// that multiply bf16, whose tests are skipped where there are none. Operands are exact in bf16, but for the weights.
#include "backends/cpu/kernels/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "backends/cpu/kernels/gemm_bf16.h"
#include "base/half.h"
#include "tests/backends/cpu/kernel_test.h"

namespace lathe::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The segment of operand rows that belongs to a sequence.
struct Segment {
  int64_t q_len, kv_len, q_row, k_row;
};

Segment segment_of(const Attention& p, int64_t b) {
  Segment s{p.q_len, p.kv_len, 0, 0};
  if (p.q_offsets != nullptr) s = {p.q_offsets[b + 1] - p.q_offsets[b], s.kv_len, p.q_offsets[b], 0};
  if (p.k_offsets != nullptr) {
    s.kv_len = p.k_offsets[b + 1] - p.k_offsets[b];
    s.k_row = p.k_offsets[b];
  }
  if (p.kv_lens != nullptr) s.kv_len = std::min<int64_t>(s.kv_len, p.kv_lens[b]);
  return s;
}

double at(const AttentionOperand& x, bool packed, int64_t b, int64_t row, int64_t h, int64_t d) {
  return x.data[(packed ? 0 : b * x.stride_b) + row * x.stride_s + h * x.stride_h + d * x.stride_d];
}

// One output row. `bias(b, h, q, k)` is what a score map under test adds.
template <class Bias>
std::vector<double> reference_row(const Attention& p, int64_t b, int64_t h, int64_t i, Bias bias) {
  const Segment s = segment_of(p, b);
  const int64_t kvh = h / (p.heads / p.kv_heads);
  const int64_t center = i + p.offset + (p.align_ends ? s.kv_len - s.q_len : 0);
  std::vector<double> scores(static_cast<size_t>(s.kv_len), -INFINITY), out(static_cast<size_t>(p.v_dim), 0.0);
  double highest = -INFINITY, sum = 0;
  for (int64_t j = 0; j < s.kv_len; ++j) {
    if (p.left != kUnlimited && j < center - p.left) continue;
    if (p.right != kUnlimited && j > center + p.right) continue;
    double score = 0;
    for (int64_t d = 0; d < p.head_dim; ++d)
      score += at(p.q, p.q_offsets != nullptr, b, s.q_row + i, h, d) *
               at(p.k, p.k_offsets != nullptr, b, s.k_row + j, kvh, d);
    score *= p.scale;
    if (p.softcap != 0) score = p.softcap * std::tanh(score / p.softcap);
    if (p.mask.data != nullptr)
      score += p.mask.data[b * p.mask.stride_b + h * p.mask.stride_h +
                           (p.q_offsets != nullptr ? s.q_row + i : i) * p.mask.stride_q +
                           (p.k_offsets != nullptr ? s.k_row + j : j) * p.mask.stride_k];
    scores[static_cast<size_t>(j)] = score + bias(b, h, i, j);
    highest = std::fmax(highest, scores[static_cast<size_t>(j)]);
  }
  if (highest == -INFINITY) return std::vector<double>(out.size(), p.zero_masked_rows ? 0.0 : NAN);
  for (int64_t j = 0; j < s.kv_len; ++j) {
    const double weight = std::exp(scores[static_cast<size_t>(j)] - highest);
    sum += weight;
    for (int64_t d = 0; d < p.v_dim; ++d)
      out[static_cast<size_t>(d)] += weight * at(p.v, p.k_offsets != nullptr, b, s.k_row + j, kvh, d);
  }
  for (double& v : out) v /= sum;
  return out;
}

void round_to_bf16(Buffer& values) {
  for (int64_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(BFloat16(values[i]));
}

// Operands in the layout [batch, length, heads, dim].
struct Case {
  Case(int64_t batch, int64_t heads, int64_t kv_heads, int64_t q_len, int64_t kv_len, int64_t head_dim, int64_t v_dim)
      : q(Buffer::random(batch * q_len * heads * head_dim, 1, -2, 2)),
        k(Buffer::random(batch * kv_len * kv_heads * head_dim, 2, -2, 2)),
        v(Buffer::random(batch * kv_len * kv_heads * v_dim, 3)),
        out(batch * q_len * heads * v_dim, 77.0f) {
    for (Buffer* operand : {&q, &k, &v}) round_to_bf16(*operand);
    p.batch = batch;
    p.heads = heads;
    p.kv_heads = kv_heads;
    p.q_len = q_len;
    p.kv_len = kv_len;
    p.head_dim = head_dim;
    p.v_dim = v_dim;
    p.q = {q.data(), q_len * heads * head_dim, heads * head_dim, head_dim, 1};
    p.k = {k.data(), kv_len * kv_heads * head_dim, kv_heads * head_dim, head_dim, 1};
    p.v = {v.data(), kv_len * kv_heads * v_dim, kv_heads * v_dim, v_dim, 1};
    p.out = out.data();
    p.out_stride_b = q_len * heads * v_dim;
    p.out_stride_s = heads * v_dim;
    p.out_stride_h = v_dim;
    p.scale = 1.0f / std::sqrt(static_cast<float>(std::max<int64_t>(head_dim, 1)));
  }
  Buffer q, k, v, out;
  Attention p;
};

enum class Unit : uint8_t { none, dots, tiles };
struct Arithmetic {
  Isa isa;
  Unit unit;
};

std::vector<Arithmetic> all_arithmetic() {
  std::vector<Arithmetic> all;
  for (const Isa isa : available_isas()) all.push_back({isa, Unit::none});
  for (const Unit unit : {Unit::dots, Unit::tiles}) all.push_back({Isa::avx512, unit});
  return all;
}

std::string arithmetic_name(const testing::TestParamInfo<Arithmetic>& info) {
  if (info.param.unit == Unit::none) return std::string(to_string(info.param.isa));
  return info.param.unit == Unit::dots ? "dots" : "tiles";
}

class AttentionTest : public testing::TestWithParam<Arithmetic> {
 protected:
  void SetUp() override {
    if (GetParam().unit == Unit::none) return;
    unit_ = bf16_unit(detect_cpu_features(), GetParam().unit == Unit::tiles);
    if (unit_ == nullptr) GTEST_SKIP() << "this machine has no such unit";
    tolerance_ = 0x1p-8;  // of weights that add up to 1, and values up to 1
  }
  const KernelTable& kernels() const { return kernel_table(GetParam().isa); }

  void run(Attention p, int threads) {
    p.unit = unit_;
    ThreadTeam team(threads, {.spin = std::chrono::nanoseconds(0)});
    Buffer workspace(attention_workspace_floats(kernels().gemm, p, threads), std::numeric_limits<float>::quiet_NaN());
    attention(team, kernels().gemm, kernels().attention, p, workspace.data());
  }

  template <class Bias>
  void check(const Attention& p, int threads, Bias bias) {
    SCOPED_TRACE(testing::Message() << "batch " << p.batch << " heads " << p.heads << '/' << p.kv_heads << " q "
                                    << p.q_len << " kv " << p.kv_len << " dim " << p.head_dim << '/' << p.v_dim);
    run(p, threads);
    for (int64_t b = 0; b < p.batch; ++b) {
      const Segment s = segment_of(p, b);
      for (int64_t i = 0; i < s.q_len; ++i)
        for (int64_t h = 0; h < p.heads; ++h) {
          const std::vector<double> want = reference_row(p, b, h, i, bias);
          const int64_t row = (p.q_offsets != nullptr ? 0 : b * p.out_stride_b) + (s.q_row + i) * p.out_stride_s;
          const float* got = p.out + row + h * p.out_stride_h;
          for (int64_t d = 0; d < p.v_dim; ++d) {
            const double w = want[static_cast<size_t>(d)];
            ASSERT_TRUE(std::isnan(w) ? std::isnan(got[d]) : std::fabs(got[d] - w) < tolerance_)
                << "b " << b << " i " << i << " h " << h << " d " << d << ": " << got[d] << " for " << w;
          }
        }
    }
  }
  void check(const Attention& p, int threads = 2) {
    check(p, threads, [](int64_t, int64_t, int64_t, int64_t) { return 0.0; });
  }

  const GemmBf16Kernels* unit_ = nullptr;
  double tolerance_ = 1e-5;
};
INSTANTIATE_TEST_SUITE_P(Arithmetic, AttentionTest, testing::ValuesIn(all_arithmetic()), arithmetic_name);

TEST_P(AttentionTest, OddLengths) {
  for (int64_t q_len : {1, 2, 3, 5, 13, 16, 31, 33, 65, 200})
    for (int64_t kv_len : {1, 2, 15, 16, 17, 33, 127, 129}) check(Case(1, 2, 2, q_len, kv_len, 16, 16).p);
}

TEST_P(AttentionTest, OddHeadDims) {
  for (int64_t dim : {1, 3, 8, 15, 17, 32, 33, 64, 80, 100, 128, 256})
    for (int64_t q_len : {1, 4, 40}) {
      check(Case(1, 2, 2, q_len, 37, dim, dim).p);
      check(Case(1, 2, 2, q_len, 37, 24, dim).p);
    }
}

TEST_P(AttentionTest, GroupedHeadsAndBatches) {
  for (int64_t kv_heads : {1, 2, 6})
    for (int64_t q_len : {1, 3, 50}) check(Case(3, 6, kv_heads, q_len, 45, 20, 20).p);
  check(Case(1, 40, 2, 1, 70, 32, 32).p, 4);
}

TEST_P(AttentionTest, ManyThreadsShareOneHead) {
  check(Case(1, 1, 1, 100, 60, 16, 16).p, 5);
  check(Case(1, 1, 1, 1, 60, 16, 16).p, 5);
}

TEST_P(AttentionTest, KeysInSeveralBlocks) {
  for (int64_t q_len : {1, 2, 9, 64, 300}) check(Case(1, 2, 1, q_len, 1500, 40, 40).p);
}

TEST_P(AttentionTest, LaterBlocksMayHoldLargerScores) {
  Case c(1, 1, 1, 20, 1400, 16, 16);
  for (int64_t j = 0; j < 1400; ++j)
    for (int64_t d = 0; d < 16; ++d) c.k[j * 16 + d] *= static_cast<float>(j) / 100.0f;
  round_to_bf16(c.k);
  check(c.p);
}

TEST_P(AttentionTest, Causal) {
  for (int64_t q_len : {1, 7, 40, 300})
    for (int64_t offset : {-3, 0, 5}) {
      Case c(2, 2, 1, q_len, 310, 16, 16);
      c.p.right = 0;
      c.p.offset = offset;
      check(c.p);
      c.p.zero_masked_rows = true;
      check(c.p);
    }
}

TEST_P(AttentionTest, CausalFromTheEnd) {
  for (int64_t q_len : {1, 10, 90}) {
    Case c(1, 4, 2, q_len, 90, 16, 16);
    c.p.right = 0;
    c.p.align_ends = true;
    check(c.p);
  }
}

TEST_P(AttentionTest, SlidingWindows) {
  for (int64_t left : {0, 5, 100})
    for (int64_t right : {int64_t{0}, int64_t{3}, kUnlimited}) {
      Case c(1, 2, 2, 700, 700, 8, 8);
      c.p.left = left;
      c.p.right = right;
      check(c.p);
    }
}

TEST_P(AttentionTest, MaskOfEveryShape) {
  const int64_t batch = 2, heads = 4, q_len = 21, kv_len = 50;
  Buffer mask = Buffer::random(batch * heads * q_len * kv_len, 9, -3, 3);
  for (int64_t i = 0; i < mask.size(); i += 7) mask[i] = -kInfinity;
  const int64_t full_q = kv_len, full_h = q_len * kv_len, full_b = heads * q_len * kv_len;
  for (int64_t q : {q_len, int64_t{1}})
    for (const AttentionMask& shape :
         {AttentionMask{mask.data(), full_b, full_h, full_q, 1}, AttentionMask{mask.data(), full_b, 0, 0, 1},
          AttentionMask{mask.data(), 0, 3, 5, 2}, AttentionMask{mask.data(), 0, full_h, 0, 0}}) {
      Case c(batch, heads, 2, q, kv_len, 16, 16);
      c.p.mask = shape;
      c.p.zero_masked_rows = true;
      check(c.p);
    }
}

TEST_P(AttentionTest, SoftcapAndScale) {
  Case c(1, 2, 2, 30, 40, 16, 16);
  c.p.scale = 3.0f;
  c.p.softcap = 5.0f;
  check(c.p);
}

TEST_P(AttentionTest, ScoreMapSeesItsPlace) {
  const auto slope = [](void*, const ScoreRegion& region) noexcept {
    for (int64_t r = 0; r < region.rows; ++r)
      for (int64_t j = 0; j < region.keys; ++j)
        region.scores[r * region.ld + j] +=
            0.01f * static_cast<float>((region.head + 1) * (region.key + j) - 3 * (region.query + r) * region.batch);
  };
  for (int64_t q_len : {1, 35}) {
    Case c(2, 4, 2, q_len, 700, 16, 16);
    c.p.right = 0;
    c.p.align_ends = true;
    c.p.score_map = slope;
    check(c.p, 2, [](int64_t b, int64_t h, int64_t q, int64_t k) {
      return 0.01 * static_cast<double>((h + 1) * k - 3 * q * b);
    });
  }
}

TEST_P(AttentionTest, PaddedKeysAreNotRead) {
  const int32_t lens[] = {17, 0, 40};
  for (int64_t q_len : {1, 20}) {
    Case c(3, 2, 1, q_len, 40, 16, 16);
    for (int64_t j = 17 * 16; j < 40 * 16; ++j) c.k[j] = c.v[j] = std::numeric_limits<float>::quiet_NaN();
    c.p.kv_lens = lens;
    c.p.zero_masked_rows = true;
    check(c.p);
  }
}

TEST_P(AttentionTest, PackedSegments) {
  const int32_t q_offsets[] = {0, 5, 5, 38, 39}, k_offsets[] = {0, 9, 12, 45, 60};
  Case c(1, 4, 2, 39, 60, 16, 24);
  c.p.batch = 4;
  c.p.q_len = 33;
  c.p.kv_len = 33;
  c.p.q_offsets = q_offsets;
  c.p.k_offsets = k_offsets;
  check(c.p);
  c.p.right = 0;
  c.p.align_ends = true;
  check(c.p);
  const Buffer mask = Buffer::random(39 * 60, 9, -3, 3);
  for (const AttentionMask& shape : {AttentionMask{mask.data(), 0, 0, 0, 1}, AttentionMask{mask.data(), 0, 0, 60, 1}}) {
    c.p.mask = shape;
    check(c.p);
  }
}

TEST_P(AttentionTest, TransposedOperands) {
  const int64_t heads = 2, len = 45, dim = 20;
  for (int64_t q_len : {1, 6, 45}) {
    Case c(1, heads, heads, q_len, len, dim, dim);
    Case transposed = c;
    // K as [h, d, s], then V and Q as well.
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t d = 0; d < dim; ++d)
        for (int64_t s = 0; s < len; ++s) transposed.k[(h * dim + d) * len + s] = c.k[(s * heads + h) * dim + d];
    c.p.k = {transposed.k.data(), 0, 1, dim * len, len};
    check(c.p);
    c.p.v = c.p.k;
    check(c.p);
    c.p.q = c.p.k;
    check(c.p);
  }
}

TEST_P(AttentionTest, NanStaysWhereItCanBeSeen) {
  Case c(1, 1, 1, 60, 60, 16, 16);
  c.p.right = 0;
  c.k[10 * 16] = std::numeric_limits<float>::quiet_NaN();
  run(c.p, 1);
  for (int64_t i = 0; i < 60; ++i) EXPECT_EQ(std::isnan(c.out[i * 16]), i >= 10) << i;
  c.k[10 * 16] = 0.0f;
  // A value that a row does not see has the weight 0 in its tile, so rows shortly before may become NaN as well.
  const int most_rows = unit_ == nullptr ? kGemmMaxRows : kMaxBf16Rows;
  c.v[20 * 16 + 3] = std::numeric_limits<float>::quiet_NaN();
  run(c.p, 1);
  for (int64_t i = 0; i < 60; ++i) {
    EXPECT_TRUE(std::isnan(c.out[i * 16 + 3]) || i < 20) << i;
    EXPECT_FALSE(std::isnan(c.out[i * 16 + 3]) && i <= 20 - most_rows) << i;
  }
}

TEST_P(AttentionTest, ZeroSizes) {
  check(Case(0, 2, 2, 3, 3, 8, 8).p);
  check(Case(1, 2, 2, 0, 3, 8, 8).p);
  Case no_keys(1, 2, 2, 3, 0, 8, 8);
  no_keys.p.zero_masked_rows = true;
  check(no_keys.p);
}

}  // namespace
}  // namespace lathe::cpu
