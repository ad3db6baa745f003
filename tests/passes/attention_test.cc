// Attention in the spellings of exporters: head splitting, scaling, masks; and joint query-key-value products.
#include "tests/passes/pass_test.h"

namespace lathe::passes {
namespace {

const Symbols kSizes = {{"b", 2}, {"s", 5}};

// Two heads of 4 columns. `scores` computes %p (before softmax) from %m = q . k^T of shape [b, 2, s, s].
std::string graph_with_scores(const std::string& inputs, const std::string& scores, const std::string& weights = "%w") {
  return "graph (%x: f32[b, s, 8]" + inputs + R"() {
    %wq = constant {value = f32[8, 8] random(1)}
    %wk = constant {value = f32[8, 8] random(2)}
    %wv = constant {value = f32[8, 8] random(3)}
    %q0 = matmul(%x, %wq)
    %k0 = matmul(%x, %wk)
    %v0 = matmul(%x, %wv)
    %q1 = reshape(%q0) {shape = [b, s, 2, 4]}
    %k1 = reshape(%k0) {shape = [b, s, 2, 4]}
    %v1 = reshape(%v0) {shape = [b, s, 2, 4]}
    %q = transpose(%q1) {perm = [0, 2, 1, 3]}
    %k = transpose(%k1) {perm = [0, 2, 3, 1]}
    %v = transpose(%v1) {perm = [0, 2, 1, 3]}
    %m = matmul(%q, %k)
)" + scores +
         R"(
    %w = softmax(%p) {axis = 3}
    %n = map(%w) {program = (x0) => select(is_nan(x0), 0:f32, x0)}
    %o = matmul()" +
         weights + R"(, %v)
    %o1 = transpose(%o) {perm = [0, 2, 1, 3]}
    %y = reshape(%o1) {shape = [b, s, 8]}
    return %y as "y"
  })";
}

void expect_one_attention(const Rewritten& r) {
  EXPECT_EQ(r.count("attention"), 1) << r.text;
  EXPECT_EQ(r.count("softmax") + r.count("transpose") + r.count("reshape"), 0) << r.text;
  EXPECT_EQ(r.count("matmul"), 1) << r.text;  // query, key and value as one
}

TEST(FuseAttention, ScaledWithPaddingMaskExpanded) {
  const Rewritten r = optimise(graph_with_scores(", %mask: i64[b, s]", R"(
    %s = map(%m) {program = (x0) => div(x0, 2:f32)}
    %m4 = reshape(%mask) {shape = [b, 1, 1, s]}
    %me = map(%m4) {program = (x0) => x0, shape = [b, 1, s, s]}
    %mf = map(%me) {program = (x0) => mul(sub(1:f32, cast<f32>(x0)), -10000:f32)}
    %p = map(%s, %mf) {program = (x0, x1) => add(x0, x1)})"),
                               kSizes);
  EXPECT_EQ(r.count("attention"), 1) << r.text;
  EXPECT_EQ(r.count("matmul"), 1) << r.text;
  EXPECT_NE(r.text.find("scale = 0.5"), std::string::npos) << r.text;
  EXPECT_EQ(r.text.find("shape = [b, 1, s, s]"), std::string::npos) << r.text;
}

TEST(FuseAttention, CausalByComparingRangesWithSafeSoftmax) {
  const Rewritten r = optimise(graph_with_scores("", R"(
    %c = map() {program = () => le(iota(-1), iota(-2)), shape = [s, s]}
    %p = map(%m, %c) {program = (x0, x1) => add(mul(x0, 0.5:f32), select(x1, 0:f32, -inf:f32))})",
                                                 "%n"),
                               kSizes);
  expect_one_attention(r);
  EXPECT_NE(r.text.find("causal = true"), std::string::npos) << r.text;
  EXPECT_EQ(r.text.find("score"), std::string::npos) << r.text;
}

TEST(FuseAttention, CausalBesideAPaddingMaskThatIsNotInfinite) {
  // With finite masks a row may have no visible key, and then the numbers that hide them matter: not causal, but exact.
  const Rewritten r = optimise(graph_with_scores(", %pad: bool[b, 1, 1, s]", R"(
    %c = map() {program = () => le(iota(-1), iota(-2)), shape = [s, s]}
    %both = map(%c, %pad) {program = (x0, x1) => logical_and(x0, x1)}
    %p = map(%m, %both) {program = (x0, x1) => select(x1, x0, -3.4028235e+38:f32)})"),
                               kSizes);
  expect_one_attention(r);
  EXPECT_EQ(r.text.find("causal = true"), std::string::npos) << r.text;
}

TEST(FuseAttention, FiniteCausalMaskAlone) {
  const Rewritten r = optimise(graph_with_scores("", R"(
    %c = map() {program = () => select(gt(iota(-1), iota(-2)), -3.4028235e+38:f32, 0:f32), shape = [1, 1, s, s]}
    %p = map(%m, %c) {program = (x0, x1) => add(x0, x1)})"),
                               kSizes);
  expect_one_attention(r);
  EXPECT_NE(r.text.find("causal = true"), std::string::npos) << r.text;
}

TEST(FuseAttention, LookingAheadIsNotCausal) {
  const Rewritten r = optimise(graph_with_scores("", R"(
    %c = map() {program = () => le(iota(-2), iota(-1)), shape = [s, s]}
    %p = map(%m, %c) {program = (x0, x1) => select(x1, x0, -inf:f32)})"),
                               kSizes);
  EXPECT_EQ(r.count("attention"), 1) << r.text;
  EXPECT_EQ(r.text.find("causal = true"), std::string::npos) << r.text;
}

TEST(FuseAttention, PositionBiasStaysAnOperand) {
  const Rewritten r = optimise(graph_with_scores(", %bias: f32[1, 2, s, s]", R"(
    %p = map(%m, %bias) {program = (x0, x1) => add(x0, x1)})"),
                               kSizes);
  expect_one_attention(r);
}

TEST(FuseAttention, StoredTriangleBecomesCausal) {
  const Rewritten r = optimise(R"(graph (%q: f32[b, 2, 3, 4], %k: f32[b, 2, 3, 4], %v: f32[b, 2, 3, 4]) {
    %tri = constant {value = bool[1, 1, 4, 4] [true, false, false, false, true, true, false, false, true, true, true, false, true, true, true, true]}
    %t = slice(%tri) {axes = [2, 3], starts = [0, 0], sizes = [3, 3], steps = [1, 1]}
    %m = matmul(%q, %k) {trans_b = true}
    %p = map(%t, %m) {program = (x0, x1) => select(x0, x1, -inf:f32)}
    %w = softmax(%p) {axis = 3}
    %y = matmul(%w, %v)
    return %y as "y"
  })",
                               kSizes);
  EXPECT_EQ(r.count("attention"), 1) << r.text;
  EXPECT_NE(r.text.find("causal = true"), std::string::npos) << r.text;
}

TEST(FuseAttention, BatchAndHeadsFoldedWithAlibi) {
  const Rewritten r = optimise(R"(graph (%x: f32[b, s, 24], %alibi: f32[2*b, 1, s], %mask: bool[b, 1, s, s]) {
    %h = reshape(%x) {shape = [b, s, 2, 3, 4]}
    %i0 = constant {value = i64[] [0]}
    %i1 = constant {value = i64[] [1]}
    %i2 = constant {value = i64[] [2]}
    %q0 = gather(%h, %i0) {axis = 3}
    %k0 = gather(%h, %i1) {axis = 3}
    %v0 = gather(%h, %i2) {axis = 3}
    %q1 = transpose(%q0) {perm = [0, 2, 1, 3]}
    %q = reshape(%q1) {shape = [2*b, s, 4]}
    %k1 = transpose(%k0) {perm = [0, 2, 3, 1]}
    %k = reshape(%k1) {shape = [2*b, 4, s]}
    %v1 = transpose(%v0) {perm = [0, 2, 1, 3]}
    %v = reshape(%v1) {shape = [2*b, s, 4]}
    %m = matmul(%q, %k)
    %a = map(%m, %alibi) {program = (x0, x1) => add(mul(x0, 0.5:f32), x1)}
    %a4 = reshape(%a) {shape = [b, 2, s, s]}
    %p = map(%a4, %mask) {program = (x0, x1) => select(x1, x0, -3.4028235e+38:f32)}
    %w = softmax(%p) {axis = 3}
    %w3 = reshape(%w) {shape = [2*b, s, s]}
    %o = matmul(%w3, %v)
    %o4 = reshape(%o) {shape = [b, 2, s, 4]}
    %o1 = transpose(%o4) {perm = [0, 2, 1, 3]}
    %y = reshape(%o1) {shape = [b, s, 8]}
    return %y as "y"
  })",
                               kSizes);
  EXPECT_EQ(r.count("attention"), 1) << r.text;
  EXPECT_EQ(r.count("transpose") + r.count("gather") + r.count("matmul"), 0) << r.text;
  EXPECT_NE(r.text.find("k_offset = 4"), std::string::npos) << r.text;
}

TEST(FuseAttention, SharedKeyHeadsByExpandAndReshape) {
  const Rewritten r = optimise(R"(graph (%q: f32[b, 4, s, 8], %k: f32[b, 2, t, 8], %v: f32[b, 2, t, 8]) {
    %k5 = reshape(%k) {shape = [b, 2, 1, t, 8]}
    %ke = map(%k5) {program = (x0) => x0, shape = [b, 2, 2, t, 8]}
    %k4 = reshape(%ke) {shape = [b, 4, t, 8]}
    %v5 = reshape(%v) {shape = [b, 2, 1, t, 8]}
    %ve = map(%v5) {program = (x0) => x0, shape = [b, 2, 2, t, 8]}
    %v4 = reshape(%ve) {shape = [b, 4, t, 8]}
    %kt = transpose(%k4) {perm = [0, 1, 3, 2]}
    %m = matmul(%q, %kt)
    %w = softmax(%m) {axis = 3}
    %y = matmul(%w, %v4)
    return %y as "y"
  })",
                               {{"b", 2}, {"s", 3}, {"t", 5}});
  EXPECT_EQ(r.count("attention"), 1) << r.text;
  EXPECT_NE(r.text.find("kv_heads = 2"), std::string::npos) << r.text;
}

TEST(FuseAttention, SequenceMajor) {
  const Rewritten r = optimise(R"(graph (%x: f32[s, b, 8]) {
    %h = reshape(%x) {shape = [s, 2*b, 4]}
    %q = transpose(%h) {perm = [1, 0, 2]}
    %k = transpose(%h) {perm = [1, 2, 0]}
    %m = matmul(%q, %k)
    %m4 = reshape(%m) {shape = [b, 2, s, s]}
    %w = softmax(%m4) {axis = 3}
    %w3 = reshape(%w) {shape = [2*b, s, s]}
    %o = matmul(%w3, %q)
    %o4 = reshape(%o) {shape = [b, 2, s, 4]}
    %o1 = transpose(%o4) {perm = [2, 0, 1, 3]}
    %y = reshape(%o1) {shape = [s, b, 8]}
    return %y as "y"
  })",
                               kSizes);
  EXPECT_EQ(r.count("attention"), 1) << r.text;
  EXPECT_EQ(r.count("transpose") + r.count("reshape"), 0) << r.text;
}

TEST(FuseAttention, WeightsThatAreAnOutputAreKept) {
  const Rewritten r = rewrite(R"(graph (%q: f32[b, 2, s, 4], %k: f32[b, 2, s, 4], %v: f32[b, 2, s, 4]) {
    %m = matmul(%q, %k) {trans_b = true}
    %w = softmax(%m) {axis = 3}
    %y = matmul(%w, %v)
    return %y as "y", %w as "weights"
  })",
                              fuse_attention, kSizes);
  EXPECT_EQ(r.rewrites, 0);
}

TEST(FuseAttention, SoftmaxOverQueriesIsNoAttention) {
  const Rewritten r = rewrite(R"(graph (%q: f32[b, 2, s, 4], %k: f32[b, 2, s, 4], %v: f32[b, 2, s, 4]) {
    %m = matmul(%q, %k) {trans_b = true}
    %w = softmax(%m) {axis = 2}
    %y = matmul(%w, %v)
    return %y as "y"
  })",
                              fuse_attention, kSizes);
  EXPECT_EQ(r.rewrites, 0);
}

TEST(FuseAttention, OperandsOfMixedPrecisionStayProducts) {
  const Rewritten r = rewrite(R"(graph (%q: f32[2, 4, n, 8], %k: f32[2, 4, n, 8], %v: f16[2, 4, n, 8]) {
    %scores = matmul(%q, %k) {trans_b = true}
    %shares = softmax(%scores) {axis = 3}
    %half = map(%shares) {program = (x0) => cast<f16>(x0)}
    %y = matmul(%half, %v)
    return %y as "y"
  })",
                              fuse_attention, {{"n", 3}}, 1e-2);
  EXPECT_EQ(r.count("attention"), 0);
}

}  // namespace
}  // namespace lathe::passes
