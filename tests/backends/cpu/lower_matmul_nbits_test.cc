// Lowering of products with weights of a few bits against the reference evaluator.
#include "backends/widen_nbits.h"
#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

using LowerMatMulNBits = LowerTest;
LATHE_FOR_EACH_DEVICE(LowerMatMulNBits);

// "u4[3, 40] [0, 1, ..]" without a pattern that fits the shape.
std::string integers(const std::string& type, int64_t n, int64_t k, int range, int low) {
  std::string text = type + "[" + std::to_string(n) + ", " + std::to_string(k) + "] [";
  for (int64_t i = 0; i < n * k; ++i) text += (i == 0 ? "" : ", ") + std::to_string(low + (i * 89 + i / 7) % range);
  return text + "]";
}

// Weights of 9 columns and 40 terms in blocks of 16, then the product with `rest`.
std::string product(const std::string& a, const std::string& scale, const std::string& operands,
                    const std::string& fields, const std::string& extras = "") {
  return "(%x: " + a + extras + ") { %q = constant {value = " + integers("u4", 9, 40, 16, 0) +
         "} %z = constant {value = " + integers("u4", 9, 3, 16, 0) + "} %s = constant {value = " + scale +
         "[9, 3] splat(0.125)} %y = matmul_nbits(%x, %q, %s" + operands + ") {block = 16" + fields + "} return %y }";
}

TEST_P(LowerMatMulNBits, Shapes) {
  for (const Sizes& dims : std::vector<Sizes>{{40}, {1, 40}, {2, 3, 40}, {0, 40}, {21, 40}})
    check(product("f32" + to_string(dims), "f32", "", ""), {floats(dims)});
}

TEST_P(LowerMatMulNBits, Types) {
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
    const double tolerance = type == DType::f32 ? 2e-5 : type == DType::f16 ? 2e-2 : 0.15;
    const Tensor x = random_tensor(type, {3, 40}, 1);
    for (const std::string scale : {"f32", "f16", "bf16"}) {
      const std::string name(to_string(type));
      check(product(name + "[3, 40]", scale, "", ""), {x}, {tolerance, true, {}});
      check(product(name + "[3, 40]", scale, ", %z", ""), {x}, {tolerance, true, {}});
    }
  }
}

TEST_P(LowerMatMulNBits, Epilogues) {
  const std::string bias = ", %b: f32[9]", rest = ", %b: f32[3, 9]", column = ", %b: f32[3, 1]";
  const Tensor x = floats({3, 40});
  check(product("f32[3, 40]", "f32", ", _, %b", ", epilogue = (x0, x1) => relu(add(x0, x1))", bias), {x, floats({9})});
  check(product("f32[3, 40]", "f32", ", %z, %b", ", epilogue = (x0, x1) => add(x1, x0)", rest), {x, floats({3, 9})});
  check(product("f32[3, 40]", "f32", ", _, %b", ", epilogue = (x0, x1) => mul(x0, exp(x1))", column),
        {x, floats({3, 1})});
}

TEST_P(LowerMatMulNBits, RoundedRowsAreClose) {
  for (const int64_t rows : {1, 5, 30})
    check(product("f32[" + std::to_string(rows) + ", 40]", "f16", ", %z", ", round_rows = true"), {floats({rows, 40})},
          {0.05, true, {}});
}

TEST(WidenNBits, GivesTheSameProduct) {
  const auto graph =
      graph_of(product("f16[3, 40]", "f32", ", %z, %b", ", epilogue = (x0, x1) => add(x0, x1)", ", %b: f16[9]"));
  const std::vector<RefValue> inputs = {random_tensor(DType::f16, {3, 40}, 1), random_tensor(DType::f16, {9}, 2)};
  const Tensor expected = std::get<Tensor>(evaluate(*graph, inputs)[0]);
  EXPECT_EQ(widen_nbits(*graph), 1);
  EXPECT_EQ(graph->num_nodes(), 2u);  // the weights and the product
  expect_close(std::get<Tensor>(evaluate(*graph, inputs)[0]), expected, 2e-2);
  EXPECT_EQ(widen_nbits(*graph), 0);
}

}  // namespace
}  // namespace lathe::cpu
