// What stays in 16 bits when halves are widened: weights of products, tables of look-ups, and outputs.
#include "backends/cpu/legalize.h"

#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

std::string widened(const std::string& text) {
  const auto graph = graph_of(text);
  widen_halves(*graph);
  return print(*graph);
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(WidenHalves, WeightsOfProductsStayNarrow) {
  for (const std::string type : {"f16", "bf16"}) {
    const std::string text =
        widened("(%x: " + type + "[n, 8]) { %w = constant {value = " + type +
                "[8, 4] random(1)} %b = constant {value = " + type +
                "[4] random(2)} %y = matmul(%x, %w, %b) {epilogue = (x0, x1) => add(x0, x1)} return %y }");
    EXPECT_EQ(count(text, "value = " + type + "[8, 4]"), 1u) << text;
    EXPECT_EQ(count(text, "value = f32[4]"), 1u) << text;
    EXPECT_EQ(count(text, "matmul"), 1u) << text;
  }
}

TEST(WidenHalves, ATableThatIsMultipliedWithIsStoredOnce) {
  const std::string text = widened(
      "(%i: i64[n]) { %w = constant {value = f16[9, 8] random(1)} %x = gather(%w, %i) %y = matmul(%x, %w) {trans_b = "
      "true} return %y }");
  EXPECT_EQ(count(text, "constant"), 1u) << text;
  EXPECT_EQ(count(text, "value = f16[9, 8]"), 1u) << text;
}

TEST(WidenHalves, WhatKernelsReadWideIsWidened) {
  for (const std::string product :
       {"matmul(%w, %w)", "matmul(%x, %w) {trans_a = true}", "map(%w) {program = (x0) => exp(x0)}"}) {
    const std::string text =
        widened("(%x: f16[4, n]) { %w = constant {value = f16[4, 4] random(1)} %y = " + product + " return %y }");
    EXPECT_EQ(count(text, "value = f32[4, 4]"), 1u) << text;
  }
  const std::string batched =
      widened("(%x: f16[2, 3, 4]) { %w = constant {value = f16[2, 4, 4] random(1)} %y = matmul(%x, %w) return %y }");
  EXPECT_EQ(count(batched, "value = f32[2, 4, 4]"), 1u) << batched;
}

TEST(WidenHalves, StateIsWrittenInItsOwnType) {
  const std::string text = widened(
      "(%x: f16[t, 4], %k: bf16[9, 1, 2, 4], %v: bf16[9, 1, 2, 4], %st: i32[s + 1], %len: i32[s], %tab: i32[s, b]) { "
      "%y "
      "= paged_attention(%x, %x, %x, %k, %v, %st, %len, %tab) {head_dim = 4, value_dim = 4, block_size = 2} return %y "
      "}");
  EXPECT_EQ(count(text, "bf16[9, 1, 2, 4]"), 2u) << text;
  EXPECT_EQ(count(text, "= map("), 2u) << text;  // %x on its way in, %y on its way out
}

TEST(WidenHalves, AConstantOutputKeepsItsBytes) {
  const std::string text = widened(
      "(%x: f16[n, 4]) { %w = constant {value = f16[4, 4] random(1)} %y = map(%x, %w) {program = (x0, x1) => add(x0, "
      "x1)} return %y, %w }");
  EXPECT_EQ(count(text, "value = f16[4, 4]"), 1u) << text;
  EXPECT_EQ(count(text, "value = f32[4, 4]"), 1u) << text;
}

class LowerHalves : public LowerTest {};
LATHE_FOR_EACH_DEVICE(LowerHalves);

// A language model in small: look-up, product with the same table; and a region that yields a constant and rows.
TEST_P(LowerHalves, TablesAndRegions) {
  for (const std::string type : {"f16", "bf16"}) {
    check("(%i: i64[n]) { %w = constant {value = " + type +
              "[9, 40] random(1)} %x = gather(%w, %i) %y = matmul(%x, %w) {trans_b = true} return %y, %x, %w }",
          {ids({5}, 9)}, {3e-2, true, {}});
    const std::string branch = "graph (%j: i64[3]) { %w = constant {value = " + type +
                               "[9, 2] random(1)} %x = gather(%w, %j) return %x as \"x\", %w as \"w\" }";
    check("(%c: bool[], %i: i64[3]) { %y, %z = if(%c, %i) {then_branch = " + branch + ", else_branch = " + branch +
              "} return %y, %z }",
          {random_tensor(DType::boolean, {}, 1, 0, 1), ids({3}, 9)}, {3e-2, true, {}});
  }
}

std::string with_floats(const std::string& text) {
  const auto graph = graph_of(text);
  leave_floats(*graph);
  return print(*graph);
}

// f32 products in front of quantised layers, or of comparisons.
TEST(LeaveFloats, OtherTypesComeFromMaps) {
  const std::string weights = "(%x: f32[n, 8], %r: f32[n, 4]) { %w = constant {value = f32[8, 4] random(1)} ";
  const std::string bytes = with_floats(
      weights +
      "%y = matmul(%x, %w, %r) {epilogue = (x0, x1) => cast_sat<u8>(round(add(mul(x0, 3:f32), x1)))} return %y }");
  EXPECT_EQ(count(bytes, "= map("), 1u) << bytes;
  EXPECT_NE(bytes.find("(x0, x1) => round("), std::string::npos) << bytes;
  EXPECT_NE(bytes.find("(x0) => cast_sat<u8>(x0)"), std::string::npos) << bytes;
  const std::string both = with_floats(
      weights + "%y = matmul(%x, %w, %r) {epilogue = (x0, x1) => logical_and(lt(x0, x1), lt(x1, 2:f32))} return %y }");
  EXPECT_EQ(count(both, "= map("), 1u) << both;
  EXPECT_EQ(count(both, "epilogue"), 0u) << both;
  const std::string floats = weights + "%y = matmul(%x, %w, %r) {epilogue = (x0, x1) => add(x0, x1)} return %y }";
  EXPECT_EQ(count(with_floats(floats), "= map("), 0u);
}

}  // namespace
}  // namespace lathe::cpu
