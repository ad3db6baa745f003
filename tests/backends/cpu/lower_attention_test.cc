// Lowering of attention: operand layouts, score programs that become masks or run on the scores, and lists of the
// tokens of a padded batch.
#include "backends/cpu/kernels/gemm_bf16.h"
#include "backends/score_form.h"
#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class LowerAttention : public LowerTest {};
LATHE_FOR_EACH_DEVICE(LowerAttention);

TEST_P(LowerAttention, Layouts) {
  check(
      "(%x: f32[b, s, 120]) { %y = attention(%x, %x, %x) {heads = 5, kv_heads = 5, head_dim = 8, value_dim = 8, scale "
      "= 0.3, q_stride = 8, k_offset = 40, k_stride = 8, v_offset = 80, v_stride = 8} return %y }",
      {floats({2, 9, 120})});
  check(
      "(%x: f32[s, b, 72]) { %y = attention(%x, %x, %x) {heads = 3, kv_heads = 3, head_dim = 8, value_dim = 8, q_order "
      "= seq_major, k_order = seq_major, v_order = seq_major, output_order = seq_major, "
      "q_stride = 24, k_offset = 8, k_stride = 24, v_offset = 16, v_stride = 24} return %y }",
      {floats({9, 2, 72})});
  check(
      "(%q: f32[b, 4, s, 8], %k: f32[b, 2, 8, t], %v: f32[b, 2, t, 6]) { %y = attention(%q, %k, %v) {heads = 4, "
      "kv_heads = 2, head_dim = 8, value_dim = 6, q_order = head_major, k_order = transposed, v_order = head_major, "
      "output_order = head_major, causal = true, causal_offset = t - s} return %y }",
      {floats({2, 4, 5, 8}, 1), floats({2, 2, 8, 11}, 2), floats({2, 2, 11, 6}, 3)});
}

// Queries, keys and values that are no more accurate than bf16 are multiplied in it, where that is faster.
TEST_P(LowerAttention, BehindProductsOfBf16) {
  const std::string text =
      "(%a: f32[b, s, 2], %m: f32[b, 1, 1, s]) { %w = constant {value = bf16[2, 96] random(1)} %x = matmul(%a, %w) %y "
      "= "
      "attention(%x, %x, %x, %m) {heads = 2, kv_heads = 2, head_dim = 16, value_dim = 16, scale = 0.25, q_stride = 16, "
      "k_offset = 32, k_stride = 16, v_offset = 64, v_stride = 16, score = (x0, x1) => add(x0, x1)} return %y }";
  check(text, {floats({2, 75, 2}), floats({2, 1, 1, 75}, 2)}, {3e-2, true, {}});
#ifndef LATHE_TEST_CUDA
  const LoweredGraph lowered(*graph_of(text), GetParam(), 1, true);
  const bool has_unit = fast_bf16_unit(detect_cpu_features(), GetParam().isa) != nullptr;
  EXPECT_EQ(lowered.program().steps.back().kernel, has_unit ? "attention_bf16" : "attention");
#endif
}

TEST_P(LowerAttention, Scores) {
  const Tensor visible = random_tensor(DType::i64, {2, 1, 1, 130}, 4, 0, 1);
  const std::vector<Tensor> inputs = {floats({2, 3, 70, 8}, 1), floats({2, 3, 130, 8}, 2), floats({2, 3, 130, 8}, 3),
                                      floats({3, 70, 130}, 5), visible};
  for (const std::string program :
       {"x0", "mul(x0, 0.5:f32)", "add(x0, x1)", "add(div(x0, 2:f32), x1)",
        "add(x0, mul(sub(1:f32, cast<f32>(x2)), -10000:f32))", "select(ne(x2, 0:i64), x0, -inf:f32)",
        "select(eq(x2, 0:i64), -inf:f32, add(x0, x1))", "select(ne(x2, 0:i64), x0, -1000:f32)",
        "add(mul(tanh(div(x0, 5:f32)), 5:f32), x1)",
        "select(logical_and(le(iota(-1), add(iota(-2), 20:i64)), gt(iota(-1), sub(iota(-2), 40:i64))), x0, -inf:f32)",
        "add(x0, mul(cast<f32>(sub(iota(-1), iota(-2))), cast<f32>(iota(-3))))", "sub(x0, mul(x1, x1))",
        "mul(x0, x1)"}) {
    check(
        "(%q: f32[b, 3, s, 8], %k: f32[b, 3, t, 8], %v: f32[b, 3, t, 8], %m: f32[3, s, t], %n: i64[b, 1, 1, t]) { %y = "
        "attention(%q, %k, %v, %m, %n) {heads = 3, kv_heads = 3, head_dim = 8, value_dim = 8, "
        "q_order = head_major, k_order = head_major, v_order = head_major, scale = 0.35, score = (x0, x1, x2) => " +
            program + "} return %y }",
        inputs, {5e-5, true, {}});
  }
}

TEST_P(LowerAttention, PackTokens) {
  for (const std::string type : {"i64", "i32", "u8", "bool", "f32"})
    for (const Sizes& dims : {Sizes{1, 1}, {3, 40}, {130, 200}, {1500, 5}, {0, 4}, {4, 0}})
      for (const std::string fields : {"", " {kept = 0, keep_first = false}"}) {
        Tensor mask = random_tensor(*dtype_from_string(type), dims, 3, 0, 1);
        if (type == "i64" && dims[0] == 3) mask.write_int(45, 7);  // a row that is kept whole
        check_exact("(%m: " + type + "[a, b]) { %t, %s, %r = pack_tokens(%m)" + fields + " return %t, %s, %r }",
                    {mask});
      }
}

TEST_P(LowerAttention, PackedSequences) {
  // Lengths around the sizes of tiles; empty sequences within, and at the end.
  const std::vector<int32_t> bounds = {0, 70, 70, 71, 199, 214, 300, 300};
  const Tensor starts = Tensor::of<int32_t>({8}, std::span<const int32_t>(bounds));
  const Tensor x = floats({1, 300, 144}, 1), keys = floats({1, 1, 1, 300}, 2), pairs = floats({1, 3, 1, 300}, 3),
               bits = random_tensor(DType::i64, {1, 1, 1, 300}, 4, 0, 1);
  for (const std::string program :
       {"x0", "add(x0, x1)", "add(mul(x0, 0.5:f32), mul(sub(1:f32, cast<f32>(x3)), -10000:f32))",
        "sub(x0, mul(x2, x2))", "select(ne(x3, 0:i64), x0, -1000:f32)",
        "add(x0, mul(cast<f32>(sub(iota(-1), iota(-2))), x1))"})
    check(
        "(%x: f32[1, t, 144], %starts: i32[n], %k: f32[1, 1, 1, t], %p: f32[1, 3, 1, t], %b: i64[1, 1, 1, t]) { %y = "
        "attention(%x, %x, %x, %starts, %k, %p, %b) {heads = 3, kv_heads = 3, head_dim = 16, value_dim = 16, scale = "
        "0.3, q_stride = 16, k_offset = 48, k_stride = 16, v_offset = 96, v_stride = 16, packed = true, longest = 128, "
        "score = (x0, x1, x2, x3) => " +
            program + "} return %y }",
        {x, starts, keys, pairs, bits}, {5e-5, true, {}});
}

TEST_P(LowerAttention, RowsThatSeeNothingGiveZero) {
  check(
      "(%q: f32[b, 1, s, 4], %m: bool[s, 1]) { %y = attention(%q, %q, %q, %m) {heads = 1, kv_heads = 1, head_dim = 4, "
      "value_dim = 4, q_order = head_major, k_order = head_major, v_order = head_major, "
      "score = (x0, x1) => select(x1, x0, -inf:f32)} return %y }",
      {floats({1, 1, 3, 4}), Tensor::of<bool>({3, 1}, {true, false, true})});
}

TEST(ScoreForm, FiniteMasksAreNotAdditions) {
  const auto form = [](const std::string& program) {
    return match_score(MapProgram::parse("(x0, x1) => " + program, {DType::f32, DType::boolean}));
  };
  EXPECT_TRUE(form("select(x1, x0, -inf:f32)").has_value());
  EXPECT_FALSE(form("select(x1, x0, -10000:f32)").has_value());
  EXPECT_FALSE(form("exp(x0)").has_value());
  const auto scaled = form("add(mul(x0, 0.25:f32), cast<f32>(x1))");
  ASSERT_TRUE(scaled.has_value());
  EXPECT_EQ(scaled->scale, 0.25);
  EXPECT_EQ(scaled->mask.to_string(),
            MapProgram::parse("(x0, x1) => cast<f32>(x1)", {DType::f32, DType::boolean}).to_string());
}

}  // namespace
}  // namespace lathe::cpu
