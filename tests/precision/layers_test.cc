// Which nodes may be narrower, and what rules make of them.
#include "precision/layers.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "graph/text.h"

namespace lathe::precision {
namespace {

constexpr const char* kModel = R"(graph (%x: f32[n, 64], %mask: i64[n, 1]) {
  %w = constant {value = f32[64, 64] random(1)}
  %hidden = map(%mask) {program = (x0) => mul(cast<f32>(x0), -3e38:f32)}
  %a = matmul(%x, %w)
  %b = matmul(%a, %a) {trans_b = true}
  %c = map(%b, %hidden) {program = (x0, x1) => add(x0, x1)}
  %d = softmax(%c) {axis = 1}
  return %d as "d"
})";

const PrecisionSupport kGpu{.types = {DType::f16, DType::i8}, .narrow_activations = true};
const PrecisionSupport kCpu{.types = {DType::f16, DType::i8}, .asymmetric_bytes = true, .quantized_convolutions = true};

std::map<std::string, std::vector<LayerType>> ladders(const PrecisionSupport& support, PrecisionOptions options) {
  const auto graph = parse_graph(kModel);
  std::vector<const Node*> nodes;
  for (const auto& node : graph->nodes()) nodes.push_back(node.get());
  std::map<std::string, std::vector<LayerType>> result;
  for (const Layer& layer : find_layers(*graph, support, options))
    result[nodes[layer.node]->output()->name()] = layer.ladder;
  return result;
}

using Ladder = std::vector<LayerType>;
constexpr LayerType kF32{}, kHalf{DType::f16, DType::f16}, kHalfWeights{DType::f16, DType::f32};
constexpr LayerType kBytes{DType::i8, DType::f32}, kBytesToHalf{DType::i8, DType::f16};

TEST(Layers, LaddersOfADeviceWithNarrowValues) {
  const auto found = ladders(kGpu, {.types = {DType::i8, DType::f16}});
  EXPECT_EQ(found.at("a"), (Ladder{kBytesToHalf, kHalf, kF32}));
  EXPECT_EQ(found.at("b"), (Ladder{kHalf, kF32}));  // no constant weights
  EXPECT_EQ(found.at("d"), (Ladder{kHalf, kF32}));
  EXPECT_EQ(found.count("hidden"), 0u);  // f16 has no number that large
}

TEST(Layers, WhereOnlyWeightsAreNarrow) {
  const auto found = ladders(kCpu, {.types = {DType::i8, DType::f16}});
  EXPECT_EQ(found.at("a"), (Ladder{kBytes, kHalfWeights, kF32}));
  EXPECT_EQ(found.size(), 1u);
}

// As checkpoints in f16 have them, whose values are f32.
TEST(Layers, WeightsThatAreHalvesAlready) {
  const auto graph = parse_graph(R"(graph (%x: f32[n, 64]) {
  %w = constant {value = f16[64, 64] random(1)}
  %a = matmul(%x, %w)
  return %a as "a"
})");
  const PrecisionOptions options{.types = {DType::i8, DType::f16}};
  EXPECT_EQ(find_layers(*graph, kGpu, options).at(0).ladder, (Ladder{kBytesToHalf, kHalf, kF32}));
  EXPECT_EQ(find_layers(*graph, kCpu, options).at(0).ladder, (Ladder{kBytes, kF32}));
}

// Some processors multiply bf16 faster; f16 in the place of bf16 gains nothing.
TEST(Layers, HalvesBecomeBf16AndNothingElse) {
  const PrecisionSupport cpu{.types = {DType::f16, DType::bf16}};
  const auto ladder = [&](const std::string& stored) {
    const auto graph =
        parse_graph("graph (%x: f32[n, 64], %i: i64[n]) { %w = constant {value = " + stored +
                    "[64, 64] random(1)} %a = matmul(%x, %w) %e = gather(%w, %i) return %a as \"a\", %e as \"e\" }");
    const auto layers = find_layers(*graph, cpu, {.types = {DType::f16, DType::bf16}});
    return layers.empty() ? Ladder{} : layers.at(0).ladder;
  };
  EXPECT_EQ(ladder("f32"), (Ladder{kHalfWeights, {DType::bf16, DType::f32}, kF32}));
  EXPECT_EQ(ladder("f16"), (Ladder{{DType::bf16, DType::f32}, kF32}));
  EXPECT_EQ(ladder("bf16"), Ladder{});
}

TEST(Layers, DepthwiseConvolutionsGainNothingInBytes) {
  const auto layers = [](const std::string& weights, int groups) {
    const auto graph = parse_graph("graph (%x: f32[n, 64, 8, 8]) { %w = constant {value = f32[" + weights +
                                   "] random(1)} %a = conv(%x, %w) {strides = [1, 1], pads = [0, 0, 0, 0], dilations "
                                   "= [1, 1], groups = " +
                                   std::to_string(groups) + "} return %a as \"a\" }");
    return find_layers(*graph, kCpu, {.types = {DType::i8}}).size();
  };
  EXPECT_EQ(layers("64, 1, 3, 3", 64), 0u);
  EXPECT_EQ(layers("64, 2, 3, 3", 32), 1u);
  EXPECT_EQ(layers("64, 64, 3, 3", 1), 1u);
}

TEST(Layers, FloatsOfEightBitsWantMultiples) {
  PrecisionSupport support{.types = {DType::f8e4m3}, .float8_multiple = 16};
  EXPECT_EQ(ladders(support, {.types = {DType::f8e4m3}}).at("a"), (Ladder{{DType::f8e4m3, DType::f32}, kF32}));
  support.float8_multiple = 48;  // which 64 is not
  EXPECT_EQ(ladders(support, {.types = {DType::f8e4m3}}).count("a"), 0u);
}

// Sizes that depend on data are bound by nodes without results.
TEST(Layers, NodesWithoutResultsAreNone) {
  const auto graph = parse_graph(R"(graph (%x: f32[n, 4], %size: i64[1]) {
  bind(%size) {symbols = ["m"]}
  %y = softmax(%x) {axis = 1}
  return %y as "y"
})");
  const std::vector<Layer> layers = find_layers(*graph, kGpu, {.types = {DType::f16}});
  ASSERT_EQ(layers.size(), 1u);
  EXPECT_EQ(layers[0].node, 1u);
}

TEST(Layers, RulesFixTypesByName) {
  const auto found = ladders(kGpu, {.types = {DType::i8, DType::f16}, .rules = {{"*", DType::f16}, {"d", DType::f32}}});
  EXPECT_EQ(found.at("a"), Ladder{kHalf});
  EXPECT_EQ(found.at("d"), Ladder{kF32});
  EXPECT_THROW(ladders(kGpu, {.types = {DType::f16}, .rules = {{"nobody*", DType::f32}}}), Error);
}

TEST(Layers, RulesNeedNoTypeForOthers) {
  const auto found = ladders(kGpu, {.rules = {{"*", DType::f16}, {"d", DType::f32}, {"a", DType::i8}}});
  EXPECT_EQ(found.at("a"), Ladder{kBytes});
  EXPECT_EQ(found.at("b"), Ladder{kHalf});
  EXPECT_EQ(found.at("d"), Ladder{kF32});
  EXPECT_EQ(ladders(kCpu, {.rules = {{"a", DType::f16}}}).size(), 1u);
  EXPECT_THROW(ladders(kCpu, {.types = {DType::i8}, .rules = {{"b", DType::i8}}}), Error) << "it has no weights";
}

}  // namespace
}  // namespace lathe::precision
