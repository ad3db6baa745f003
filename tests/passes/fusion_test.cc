// Norms, activations, epilogues, batch norm, embedding, rotary.
#include <fmt/format.h>

#include "tests/passes/pass_test.h"

namespace lathe::passes {
namespace {

std::string norm_graph(std::string_view body) {
  return "graph (%x: f32[b, s, 8]) {\n"
         "  %g = constant {value = f32[8] random(1)}\n  %c = constant {value = f32[8] random(2)}\n"
         "  %m = reduce(%x) {kind = mean, axes = [2], keep_dims = true}\n"
         "  %d = map(%x, %m) {program = (x0, x1) => sub(x0, x1)}\n" +
         std::string(body) + "  return %y as \"y\"\n}";
}
const Symbols kTokens = {{"b", 2}, {"s", 3}};

struct Spelling {
  const char* name;
  const char* body;
};

class LayerNormSpelling : public testing::TestWithParam<Spelling> {};

TEST_P(LayerNormSpelling, BecomesOneNorm) {
  const Rewritten r = optimise(norm_graph(GetParam().body), kTokens, 2e-6);
  EXPECT_EQ(r.count("norm"), 1) << r.text;
  EXPECT_EQ(r.count("map") + r.count("reduce"), 0) << r.text;
}

INSTANTIATE_TEST_SUITE_P(Spellings, LayerNormSpelling,
                         testing::Values(Spelling{"pow_sqrt_div", R"(
  %p = map(%d) {program = (x0) => pow(x0, 2:f32)}
  %v = reduce(%p) {kind = mean, axes = [2], keep_dims = true}
  %s = map(%v) {program = (x0) => sqrt(add(x0, 1e-5:f32))}
  %q = map(%d, %s) {program = (x0, x1) => div(x0, x1)}
  %w = map(%q, %g) {program = (x0, x1) => mul(x1, x0)}
  %y = map(%w, %c) {program = (x0, x1) => add(x1, x0)}
)"},
                                         Spelling{"reciprocal", R"(
  %p = map(%d) {program = (x0) => mul(x0, x0)}
  %v = reduce(%p) {kind = mean, axes = [2], keep_dims = true}
  %s = map(%v) {program = (x0) => reciprocal(sqrt(add(1e-5:f32, x0)))}
  %q = map(%d, %s) {program = (x0, x1) => mul(x1, x0)}
  %y = map(%q, %g, %c) {program = (x0, x1, x2) => add(mul(x0, x1), x2)}
)"},
                                         Spelling{"scale_first", R"(
  %p = map(%d) {program = (x0) => mul(x0, x0)}
  %v = reduce(%p) {kind = mean, axes = [2], keep_dims = true}
  %s = map(%v) {program = (x0) => pow(add(x0, 1e-5:f32), -0.5:f32)}
  %t = map(%s, %g) {program = (x0, x1) => mul(x0, x1)}
  %q = map(%d, %t) {program = (x0, x1) => mul(x0, x1)}
  %y = map(%q, %c) {program = (x0, x1) => add(x0, x1)}
)"},
                                         Spelling{"no_parameters", R"(
  %p = map(%d) {program = (x0) => mul(x0, x0)}
  %v = reduce(%p) {kind = mean, axes = [2], keep_dims = true}
  %s = map(%v) {program = (x0) => sqrt(add(x0, 1e-5:f32))}
  %y = map(%d, %s) {program = (x0, x1) => div(x0, x1)}
)"}),
                         [](const auto& param) { return std::string(param.param.name); });

TEST(FuseNorm, RmsWithCastsAroundHalfPrecision) {
  const Rewritten r = optimise(R"(graph (%x: f16[b, s, 8]) {
    %g = constant {value = f16[8] random(1)}
    %w = map(%x) {program = (x0) => cast<f32>(x0)}
    %p = map(%w) {program = (x0) => pow(x0, 2:f32)}
    %v = reduce(%p) {kind = mean, axes = [2], keep_dims = true}
    %s = map(%v) {program = (x0) => div(1:f32, sqrt(add(x0, 1e-6:f32)))}
    %n = map(%w, %s) {program = (x0, x1) => cast<f16>(mul(x0, x1))}
    %y = map(%g, %n) {program = (x0, x1) => mul(x0, x1)}
    return %y as "y"
  })",
                               kTokens, 4e-3);
  EXPECT_EQ(r.count("norm"), 1) << r.text;
  EXPECT_EQ(r.count("map"), 0) << r.text;
  EXPECT_NE(r.text.find("kind = rms"), std::string::npos);
}

TEST(FuseNorm, OtherAxesOrAnotherTensorsVarianceAreNoNorm) {
  const Rewritten r = rewrite(R"(graph (%x: f32[4, 8], %z: f32[4, 8]) {
    %m = reduce(%x) {kind = mean, axes = [0], keep_dims = true}
    %d = map(%x, %m) {program = (x0, x1) => sub(x0, x1)}
    %p = map(%d) {program = (x0) => mul(x0, x0)}
    %v = reduce(%p) {kind = mean, axes = [0], keep_dims = true}
    %y = map(%d, %v) {program = (x0, x1) => div(x0, sqrt(add(x1, 1e-5:f32)))}
    %q = map(%z) {program = (x0) => mul(x0, x0)}
    %u = reduce(%q) {kind = mean, axes = [1], keep_dims = true}
    %w = map(%x, %u) {program = (x0, x1) => div(x0, sqrt(add(x1, 1e-5:f32)))}
    return %y as "y", %w as "w"
  })",
                              fuse_norm);
  EXPECT_EQ(r.rewrites, 0);
}

class ActivationSpelling : public testing::TestWithParam<Spelling> {};

TEST_P(ActivationSpelling, IsRecognised) {
  const Rewritten r = rewrite("graph (%x: f32[4, 5]) { %y = map(%x) {program = (x0) => " +
                                  std::string(GetParam().body) + "} return %y as \"y\" }",
                              recognise_activations, {}, 1e-6);
  EXPECT_NE(r.text.find("(x0) => " + std::string(GetParam().name) + "(x0)}"), std::string::npos) << r.text;
}

INSTANTIATE_TEST_SUITE_P(
    Spellings, ActivationSpelling,
    testing::Values(
        Spelling{"gelu_erf", "mul(mul(x0, 0.5:f32), add(erf(div(x0, 1.4142135:f32)), 1:f32))"},
        Spelling{"gelu_erf", "mul(0.5:f32, mul(add(1:f32, erf(mul(0.70710677:f32, x0))), x0))"},
        Spelling{"gelu_erf", "mul(x0, add(mul(erf(mul(x0, 0.70710677:f32)), 0.5:f32), 0.5:f32))"},
        Spelling{
            "gelu_tanh",
            "mul(mul(0.5:f32, x0), add(1:f32, tanh(mul(0.7978846:f32, add(x0, mul(0.044715:f32, pow(x0, 3:f32)))))))"},
        Spelling{"gelu_tanh",
                 "mul(mul(x0, 0.5:f32), add(tanh(mul(mul(x0, 0.7978846:f32), add(1:f32, mul(mul(0.044715:f32, x0), "
                 "x0)))), 1:f32))"},
        Spelling{"silu", "mul(sigmoid(x0), x0)"}, Spelling{"silu", "mul(x0, div(1:f32, add(1:f32, exp(neg(x0)))))"},
        Spelling{"hard_swish", "mul(x0, max(0:f32, min(1:f32, add(mul(x0, 0.16666667:f32), 0.5:f32))))"},
        Spelling{"hard_swish", "div(mul(x0, min(max(add(x0, 3:f32), 0:f32), 6:f32)), 6:f32)"},
        Spelling{"mish", "mul(x0, tanh(log(add(exp(x0), 1:f32))))"}, Spelling{"relu", "max(x0, 0:f32)"}),
    [](const auto& param) { return std::string(param.param.name) + "_" + std::to_string(param.index); });

TEST(RecogniseActivations, OtherConstantsAreLeftAlone) {
  for (const char* program :
       {"mul(mul(x0, 0.5:f32), add(erf(div(x0, 1.5:f32)), 1:f32))", "mul(x0, sigmoid(mul(1.702:f32, x0)))",
        "mul(x0, max(0.1:f32, min(1:f32, add(mul(x0, 0.16666667:f32), 0.5:f32))))"}) {
    const Rewritten r = rewrite(
        "graph (%x: f32[4]) { %y = map(%x) {program = (x0) => " + std::string(program) + "} return %y as \"y\" }",
        recognise_activations);
    EXPECT_EQ(r.rewrites, 0) << program;
  }
}

TEST(FuseElementwise, MergesChainsButRepeatsNoExpensiveWork) {
  const Rewritten r = rewrite(R"(graph (%x: f32[n, 4], %z: f32[n, 4]) {
    %e = map(%x) {program = (x0) => exp(x0)}
    %a = map(%e, %z) {program = (x0, x1) => add(x0, x1)}
    %b = map(%e) {program = (x0) => neg(x0)}
    %c = map(%a) {program = (x0) => sqrt(abs(x0))}
    return %b as "b", %c as "c"
  })",
                              fuse_elementwise, {{"n", 3}});
  EXPECT_EQ(r.count("map"), 3) << r.text;
}

TEST(FuseElementwise, PositionsOfABroadcastMapAreNotMixedUp) {
  const Rewritten r = rewrite(R"(graph (%x: f32[3, 4]) {
    %i = map() {program = () => cast<f32>(iota(-1)), shape = [3, 1]}
    %y = map(%x, %i) {program = (x0, x1) => add(x0, x1)}
    return %y as "y"
  })",
                              fuse_elementwise);
  EXPECT_EQ(r.count("map"), 2);
}

TEST(FuseEpilogue, BiasActivationAndResidual) {
  const Rewritten r = optimise(R"(graph (%x: f32[b, s, 4], %r: f32[b, s, 6]) {
    %w = constant {value = f32[4, 6] random(1)}
    %c = constant {value = f32[6] random(2)}
    %m = matmul(%x, %w)
    %a = map(%c, %m) {program = (x0, x1) => add(x0, x1)}
    %g = map(%a) {program = (x0) => mul(x0, sigmoid(x0))}
    %y = map(%g, %r) {program = (x0, x1) => add(x0, x1)}
    return %y as "y"
  })",
                               kTokens);
  EXPECT_EQ(r.count("map"), 0) << r.text;
  EXPECT_NE(r.text.find("silu"), std::string::npos) << r.text;
}

TEST(FuseEpilogue, AlsoOfWeightsOfAFewBits) {
  for (const std::string_view zeros : {"", ", %z"}) {
    const Rewritten r = optimise(fmt::format(R"(graph (%x: f32[b, s, 4], %r: f32[b, s, 3]) {{
      %q = constant {{value = u4[3, 4] [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15]}}
      %d = constant {{value = f32[3, 2] [1, 2, 3, 4, 5, 6]}}
      %z = constant {{value = u4[3, 2] [0, 9, 3, 4, 5, 6]}}
      %c = constant {{value = f32[3] [3, 2, 1]}}
      %m = matmul_nbits(%x, %q, %d{}) {{block = 2}}
      %a = map(%m, %c) {{program = (x0, x1) => relu(add(x0, x1))}}
      %y = map(%r, %a) {{program = (x0, x1) => add(x0, x1)}}
      return %y as "y"
    }})",
                                             zeros),
                                 kTokens);
    EXPECT_EQ(r.count("map"), 0) << r.text;
    EXPECT_EQ(r.count("matmul_nbits"), 1) << r.text;
  }
}

TEST(FuseEpilogue, AProductThatIsUsedTwiceStays) {
  const Rewritten r = rewrite(R"(graph (%x: f32[3, 4], %w: f32[4, 6]) {
    %m = matmul(%x, %w)
    %y = map(%m) {program = (x0) => relu(x0)}
    return %y as "y", %m as "m"
  })",
                              fuse_epilogue);
  EXPECT_EQ(r.rewrites, 0);
}

// Query and key have 3 columns of 3 terms, whose nibbles end within a byte; only the key has a bias.
TEST(MergeMatmuls, JoinsWeightsOfAFewBits) {
  for (const std::string_view type : {"u4", "i8"}) {
    const Rewritten r = rewrite(fmt::format(R"(graph (%x: f32[b, s, 3]) {{
      %q = constant {{value = {0}[3, 3] [0, 1, 2, 3, 4, 5, 6, 7, 1]}}
      %k = constant {{value = {0}[3, 3] [1, 7, 2, 5, 4, 3, 6, 0, 1]}}
      %v = constant {{value = {0}[3, 3] [2, 2, 2, 3, 4, 5, 7, 7, 1]}}
      %d = constant {{value = f32[3, 2] [1, 0.5, 3, 1, 0.25, 1]}}
      %z = constant {{value = {0}[3, 2] [0, 1, 3, 4, 5, 6]}}
      %c = constant {{value = f32[3] [3, 2, 1]}}
      %a = matmul_nbits(%x, %q, %d, %z) {{block = 2}}
      %e = matmul_nbits(%x, %k, %d, %z, %c) {{block = 2, epilogue = (x0, x1) => add(x0, x1)}}
      %f = matmul_nbits(%x, %v, %d, %z) {{block = 2}}
      %y = attention(%a, %e, %f) {{head_dim = 3, value_dim = 3, q_stride = 3, k_stride = 3, v_stride = 3, scale = 0.5}}
      return %y as "y"
    }})",
                                            type),
                                merge_matmuls, kTokens);
    EXPECT_EQ(r.count("matmul_nbits"), 1) << r.text;
  }
}

TEST(MergeMatmuls, LargeWeightsStayApart) {
  for (const int64_t columns : {2048, 4096}) {
    const auto graph = parse_graph(fmt::format(R"(graph (%x: f32[b, s, 4096]) {{
      %w = constant {{value = f32[4096, {0}] splat(0)}}
      %q = matmul(%x, %w)
      %k = matmul(%x, %w)
      %v = matmul(%x, %w)
      %a = attention(%q, %k, %v) {{heads = 32, kv_heads = 32, head_dim = {1}, value_dim = {1}, q_stride = {1}, k_stride = {1}, v_stride = {1}, scale = 1}}
      return %a as "a"
    }})",
                                               columns, columns / 32));
    EXPECT_EQ(merge_matmuls(*graph), columns == 2048 ? 1 : 0);
  }
}

TEST(FuseResidualNorm, SumBecomesPrologueAndSecondOutput) {
  const Rewritten r = rewrite(R"(graph (%x: f32[b, s, 4], %z: f32[b, s, 4], %g: f32[4]) {
    %a = map(%x, %z) {program = (x0, x1) => add(x0, x1)}
    %n = norm(%a, %g) {kind = rms, axis = 2}
    %y = map(%n, %a) {program = (x0, x1) => mul(x0, x1)}
    return %y as "y", %a as "sum"
  })",
                              fuse_residual_norm, kTokens);
  EXPECT_EQ(r.count("map"), 1);
  EXPECT_EQ(r.graph->nodes().front()->outputs().size(), 2u);
}

TEST(FuseBatchNorm, GoesIntoTheWeights) {
  const Rewritten r = optimise(R"(graph (%x: f32[n, 2, h, w]) {
    %k = constant {value = f32[3, 2, 3, 3] random(1)}
    %b = constant {value = f32[3, 1, 1] random(2)}
    %scale = constant {value = f32[3, 1, 1] [0.5, -2, 3]}
    %shift = constant {value = f32[3, 1, 1] [100, 0.25, -7]}
    %mean = constant {value = f32[3, 1, 1] [0.1, 0.2, 0.3]}
    %var = constant {value = f32[3, 1, 1] [1, 2, 0.5]}
    %c = conv(%x, %k) {strides = [1, 1], dilations = [1, 1], pads = [1, 1, 1, 1]}
    %d = map(%c, %b) {program = (x0, x1) => add(x0, x1)}
    %e = map(%d, %mean, %var, %scale, %shift) {program = (x0, x1, x2, x3, x4) => add(mul(div(sub(x0, x1), sqrt(add(x2, 1e-5:f32))), x3), x4)}
    %y = map(%e) {program = (x0) => relu(x0)}
    return %y as "y"
  })",
                               {{"n", 2}, {"h", 5}, {"w", 4}}, 2e-5);
  EXPECT_EQ(r.count("map"), 0) << r.text;
  EXPECT_EQ(r.count("conv"), 1);
  EXPECT_EQ(r.text.find("mul("), std::string::npos) << r.text;
}

TEST(FuseEmbedding, SumOfLookUpsAndNorm) {
  const Rewritten r = optimise(R"(graph (%ids: i64[b, s], %types: i64[b, s]) {
    %words = constant {value = f32[9, 4] random(1)}
    %places = constant {value = f32[7, 4] random(2)}
    %kinds = constant {value = f32[3, 4] random(3)}
    %g = constant {value = f32[4] random(4)}
    %c = constant {value = f32[4] random(5)}
    %pos = map() {program = () => iota(-1), shape = [1, s]}
    %a = gather(%words, %ids)
    %t = gather(%kinds, %types)
    %u = map(%a, %t) {program = (x0, x1) => add(x0, x1)}
    %p = gather(%places, %pos)
    %v = map(%u, %p) {program = (x0, x1) => add(x0, x1)}
    %y = norm(%v, %g, %c) {axis = 2}
    return %y as "y"
  })",
                               kTokens);
  EXPECT_EQ(r.count("embedding"), 1) << r.text;
  EXPECT_EQ(r.count("gather") + r.count("norm"), 0) << r.text;
}

constexpr std::string_view kRotary = R"(graph (%x: f32[b, 2, s, 8], %f: f32[s, 4], %g: f32[s, 4]) {
  %angles = concat(%f, SECOND) {axis = 1}
  %cos = map(%angles) {program = (x0) => cos(x0)}
  %sin = map(%angles) {program = (x0) => sin(x0)}
  %first = slice(%x) {axes = [3], starts = [0], sizes = [4], steps = [1]}
  %second = slice(%x) {axes = [3], starts = [4], sizes = [4], steps = [1]}
  %negated = map(%second) {program = (x0) => neg(x0)}
  %rotated = concat(%negated, %first) {axis = 3}
  %p = map(%x, %cos) {program = (x0, x1) => mul(x0, x1)}
  %q = map(%rotated, %sin) {program = (x0, x1) => mul(x0, x1)}
  %y = map(%p, %q) {program = (x0, x1) => add(x0, x1)}
  return %y as "y"
})";

std::string rotary_graph(const std::string& second) {
  std::string text(kRotary);
  return text.replace(text.find("SECOND"), 6, second);
}

TEST(FuseRotary, RotateHalf) {
  const Rewritten r = rewrite(rotary_graph("%f"), fuse_rotary, kTokens);
  EXPECT_EQ(r.count("rotary"), 1) << r.text;
}

TEST(FuseRotary, TablesWithDifferentHalvesAreNoRotation) {
  const Rewritten r = rewrite(rotary_graph("%g"), fuse_rotary, kTokens);
  EXPECT_EQ(r.count("rotary"), 0) << r.text;
}

}  // namespace
}  // namespace lathe::passes
