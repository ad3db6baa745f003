// Lowering of matrix products: packed weights and activations, batch broadcasting, epilogues in every form.
#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class LowerMatmul : public LowerTest {};
LATHE_FOR_EACH_DEVICE(LowerMatmul);

TEST_P(LowerMatmul, ConstantWeights) {
  for (const Sizes& a : std::vector<Sizes>{{1, 20}, {7, 20}, {2, 3, 20}, {0, 20}, {2, 1, 5, 20}}) {
    const std::string x = "(%x: f32" + to_string(a) + ")";
    check(x + " { %w = constant {value = f32[20, 33] random(1)} %y = matmul(%x, %w) return %y }", {floats(a)});
    check(x + " { %w = constant {value = f32[33, 20] random(1)} %y = matmul(%x, %w) {trans_b = true} return %y }",
          {floats(a)});
  }
}

TEST_P(LowerMatmul, Epilogues) {
  const std::string head =
      "(%x: f32[n, 20], %r: f32[n, 33]) { %w = constant {value = f32[20, 33] random(1)} %b = constant {value = f32[33] "
      "random(2)} ";
  for (const std::string program :
       {"(x0, x1, x2) => relu(add(add(x0, x1), x2))", "(x0, x1, x2) => add(gelu_erf(add(x0, x1)), x2)",
        "(x0, x1, x2) => add(x2, min(max(add(mul(x0, 0.5:f32), x1), 0:f32), 6:f32))",
        "(x0, x1, x2) => mul(add(x0, x1), x2)", "(x0, x1, x2) => add(x0, x2)", "(x0, x1, x2) => exp(x0)",
        "(x0, x1, x2) => { t0 = add(x0, x1); mul(t0, sigmoid(mul(t0, 1.7:f32))) }",
        "(x0, x1, x2) => select(lt(x0, 0:f32), mul(x0, 0.1:f32), x0)"})
    check(head + "%y = matmul(%x, %w, %b, %r) {epilogue = " + program + "} return %y }",
          {floats({9, 20}, 1), floats({9, 33}, 2)});
}

TEST_P(LowerMatmul, FewColumns) {
  for (const int64_t n : {1, 3, 4, 7, 8}) {
    for (const int64_t k : {128, 261}) {
      for (const int64_t m : {0, 1, 2, 16, 37}) {
        const std::string rows = std::to_string(k), columns = std::to_string(n);
        const std::string x = "(%x: f32[m, " + rows + "], %r: f32[m, " + columns + "])";
        const Tensor a = floats({m, k}, 1), r = floats({m, n}, 2);
        check(x + " { %w = constant {value = f32[" + rows + ", " + columns +
                  "] random(1)} %b = constant {value = f32[" + columns +
                  "] random(2)} %y = matmul(%x, %w, %b, %r) {epilogue = (x0, x1, x2) => relu(add(add(x0, x1), x2))} "
                  "return %y }",
              {a, r});
        check(x + " { %w = constant {value = f32[" + columns + ", " + rows +
                  "] random(1)} %y = matmul(%x, %w) {trans_b = true} return %y }",
              {a, r});
      }
    }
  }
  const auto graph =
      graph_of("(%x: f32[m, 128]) { %w = constant {value = f32[128, 8] random(1)} %y = matmul(%x, %w) return %y }");
  const std::string kernel = LoweredGraph(*graph, GetParam(), 1, true).program().steps.at(0).kernel;
  EXPECT_EQ(kernel, GetParam().name == "cpu" ? "gemm_narrow" : "gemm");
}

TEST_P(LowerMatmul, EpilogueWithOtherTypes) {
  check(
      "(%x: f32[n, 20], %m: bool[n, 1]) { %w = constant {value = f32[20, 8] random(1)} %y = matmul(%x, %w, %m) "
      "{epilogue = (x0, x1) => select(x1, x0, 0:f32)} return %y }",
      {floats({9, 20}), random_tensor(DType::boolean, {9, 1}, 3, 0, 1)});
}

TEST_P(LowerMatmul, TwoActivations) {
  struct Case {
    Sizes a, b;
  };
  for (const Case& c : std::vector<Case>{{{5, 7}, {7, 9}},
                                         {{2, 3, 5, 7}, {2, 3, 7, 9}},
                                         {{2, 3, 5, 7}, {7, 9}},
                                         {{3, 5, 7}, {2, 1, 7, 9}},
                                         {{2, 1, 4, 5, 7}, {3, 1, 7, 9}},
                                         {{2, 3, 2, 2, 5, 7}, {1, 3, 1, 2, 7, 9}},
                                         {{2, 5, 0}, {2, 0, 9}},
                                         {{0, 5, 7}, {0, 7, 9}}}) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        Sizes a = c.a, b = c.b;
        if (ta) std::swap(a[a.size() - 1], a[a.size() - 2]);
        if (tb) std::swap(b[b.size() - 1], b[b.size() - 2]);
        const std::string fields =
            std::string("{trans_a = ") + (ta ? "true" : "false") + ", trans_b = " + (tb ? "true" : "false");
        check("(%a: f32" + to_string(a) + ", %b: f32" + to_string(b) + ") { %y = matmul(%a, %b) " + fields +
                  "} return %y }",
              {floats(a, 1), floats(b, 2)});
      }
    }
  }
}

TEST_P(LowerMatmul, BatchedEpilogue) {
  check(
      "(%a: f32[2, 3, 5, 7], %b: f32[3, 7, 9], %r: f32[2, 3, 5, 9]) { %y = matmul(%a, %b, %r) {epilogue = (x0, x1) => "
      "add(mul(x0, 0.3:f32), x1)} return %y }",
      {floats({2, 3, 5, 7}, 1), floats({3, 7, 9}, 2), floats({2, 3, 5, 9}, 3)});
  check(
      "(%a: f32[2, 2, 2, 5, 7], %b: f32[2, 1, 2, 7, 9], %r: f32[9]) { %y = matmul(%a, %b, %r) {epilogue = (x0, x1) => "
      "tanh(add(x0, x1))} return %y }",
      {floats({2, 2, 2, 5, 7}, 1), floats({2, 1, 2, 7, 9}, 2), floats({9}, 3)});
}

TEST_P(LowerMatmul, HalfWeights) {
  for (const std::string type : {"f16", "bf16"})
    check("(%x: " + type + "[n, 20]) { %w = constant {value = " + type +
              "[20, 33] random(1)} %y = matmul(%x, %w) {epilogue = (x0) => relu(x0)} return %y }",
          {random_tensor(*dtype_from_string(type), {4, 20}, 1)}, {2e-2, true, {}});
}

// Weights stored in 16 bits under activations of f32.
TEST_P(LowerMatmul, MixedProducts) {
  for (const std::string type : {"f16", "bf16"}) {
    const double tolerance = type == "f16" ? 2e-5 : 2e-2;
    for (const int64_t m : {0, 1, 3, 8, 40}) {
      const std::string weight = " { %w = constant {value = " + type;
      check("(%x: f32[m, 20], %r: f32[m, 33])" + weight +
                "[20, 33] random(1)} %b = constant {value = f32[33] random(2)} %y = matmul(%x, %w, %b, %r) {epilogue = "
                "(x0, x1, x2) => gelu_erf(add(add(x0, x1), x2))} return %y }",
            {floats({m, 20}), floats({m, 33}, 2)}, {tolerance, true, {}});
      check("(%x: f32[m, 20])" + weight + "[33, 20] random(1)} %y = matmul(%x, %w) {trans_b = true} return %y }",
            {floats({m, 20})}, {tolerance, true, {}});
      check("(%x: f32[m, 261])" + weight + "[261, 3] random(1)} %y = matmul(%x, %w) return %y }", {floats({m, 261})},
            {tolerance, true, {}});
    }
    // What no kernel reads narrow is widened once.
    const std::string batched = "(%x: f32[2, 3, 20]) { %w = constant {value = " + type + "[2, 20, 5] random(1)} ";
    check(batched + "%y = matmul(%x, %w) return %y }", {floats({2, 3, 20})}, {tolerance, true, {}});
    check("(%x: f32[20, 3]) { %w = constant {value = " + type +
              "[20, 5] random(1)} %y = matmul(%x, %w) {trans_a = true} return %y }",
          {floats({20, 3})}, {tolerance, true, {}});
    check("(%x: f32[2, 20], %w: " + type + "[20, 5]) { %y = matmul(%x, %w) return %y }",
          {floats({2, 20}), random_tensor(*dtype_from_string(type), {20, 5}, 1)}, {tolerance, true, {}});
  }
}

}  // namespace
}  // namespace lathe::cpu
