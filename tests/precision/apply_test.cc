// Assignments in graphs: what is converted where, and that results stay close by the reference evaluator.
#include "precision/apply.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "graph/text.h"
#include "passes/pipeline.h"
#include "precision/measure.h"
#include "tests/passes/pass_test.h"

namespace lathe::precision {
namespace {

const PrecisionSupport kGpu{.types = {DType::f16, DType::i8}, .narrow_activations = true};
const PrecisionSupport kCpu{.types = {DType::f16, DType::i8}, .asymmetric_bytes = true, .quantized_convolutions = true};
constexpr LayerType kHalf{DType::f16, DType::f16}, kBytes{DType::i8, DType::f32}, kBytesToHalf{DType::i8, DType::f16};
const passes::Symbols kSizes = {{"n", 3}, {"b", 2}};

struct Applied {
  std::unique_ptr<Graph> graph;
  std::string text;
};

// Gives the named nodes their types, runs the quantised stage, and compares the outputs.
Applied applied(const std::string& text, const std::map<std::string, LayerType>& types, const PrecisionSupport& support,
                double tolerance, const Ranges& ranges = {}, bool static_activations = false) {
  const auto before = parse_graph(text);
  Applied after{before->clone(), {}};
  Assignment assignment;
  size_t found = 0;
  for (const auto& node : before->nodes()) {
    const auto type = types.find(node->output()->name());
    assignment.push_back(type != types.end() ? type->second : LayerType{});
    found += type != types.end() ? 1 : 0;
  }
  EXPECT_EQ(found, types.size());
  ConvertedWeights weights;
  apply_and_rewrite(*after.graph, assignment, {support, ranges, static_activations}, weights);
  verify(*after.graph);
  after.text = print(*after.graph);
  EXPECT_LE(passes::max_difference(*before, *after.graph, kSizes), tolerance) << after.text;
  return after;
}

const Node* producer(const Applied& applied, std::string_view op) {
  const Node* last = nullptr;
  for (const auto& node : applied.graph->nodes())
    if (op_name(node->op()) == op) last = node.get();
  EXPECT_NE(last, nullptr) << applied.text;
  return last;
}

constexpr const char* kDense = R"(graph (%x: f32[n, 8]) {
  %w = constant {value = f32[8, 4] random(1)}
  %bias = constant {value = f32[4] random(2)}
  %y = matmul(%x, %w, %bias) {epilogue = (x0, x1) => relu(add(x0, x1))}
  %z = softmax(%y) {axis = 1}
  return %z as "z"
})";

TEST(Apply, HalvesAreConvertedWhereTypesMeet) {
  const Applied after = applied(kDense, {{"y", kHalf}}, kGpu, 2e-3);
  const Node* product = producer(after, "matmul");
  EXPECT_EQ(product->input(0)->dtype(), DType::f16);
  EXPECT_EQ(product->input(1)->dtype(), DType::f16);
  EXPECT_EQ(product->input(2)->dtype(), DType::f16);
  EXPECT_EQ(producer(after, "softmax")->input(0)->dtype(), DType::f32);
  EXPECT_EQ(after.graph->outputs()[0]->dtype(), DType::f32);
}

TEST(Apply, HalvesStayBetweenHalves) {
  const Applied after = applied(kDense, {{"y", kHalf}, {"z", kHalf}}, kGpu, 2e-3);
  EXPECT_EQ(producer(after, "softmax")->input(0), producer(after, "matmul")->output()) << after.text;
  EXPECT_EQ(after.graph->outputs()[0]->dtype(), DType::f32);
}

TEST(Apply, BytesByRows) {
  const Applied asymmetric = applied(kDense, {{"y", kBytes}}, kCpu, 2e-2);
  EXPECT_EQ(producer(asymmetric, "matmul")->input(0)->dtype(), DType::u8) << asymmetric.text;
  EXPECT_EQ(producer(asymmetric, "matmul")->input(1)->dtype(), DType::i8);
  const Applied symmetric = applied(kDense, {{"y", kBytesToHalf}, {"z", kHalf}}, kGpu, 2e-2);
  const Node* product = producer(symmetric, "matmul");
  EXPECT_EQ(product->input(0)->dtype(), DType::i8) << symmetric.text;
  EXPECT_EQ(product->output()->dtype(), DType::f16);
}

TEST(Apply, FloatsOfEightBits) {
  const Applied after = applied(kDense, {{"y", {DType::f8e4m3, DType::f16}}, {"z", kHalf}}, kGpu, 5e-2);
  const Node* product = producer(after, "matmul");
  EXPECT_EQ(product->input(0)->dtype(), DType::f8e4m3) << after.text;
  EXPECT_EQ(product->input(1)->dtype(), DType::f8e4m3);
  EXPECT_EQ(product->output()->dtype(), DType::f16);
}

TEST(Apply, BytesByACalibratedRange) {
  const Applied after = applied(kDense, {{"y", kBytes}}, kCpu, 2e-2, {{"x", {-1, 1}}}, true);
  EXPECT_EQ(producer(after, "matmul")->input(0)->dtype(), DType::u8) << after.text;
  EXPECT_EQ(after.text.find("dynamic_quantize"), std::string::npos);
}

// What a product leaves for the next is quantised while it is stored, by one range; the first reads rows.
TEST(Apply, ProductsHandBytesOn) {
  for (const DType type : {DType::i8, DType::f8e4m3}) {
    const LayerType layer{type, DType::f16};
    const Applied after =
        applied(R"(graph (%x: f32[n, 16]) {
  %v = constant {value = f32[16, 32] random(1)}
  %w = constant {value = f32[32, 16] random(2)}
  %y = matmul(%x, %v) {epilogue = (x0) => gelu_erf(x0)}
  %z = matmul(%y, %w)
  return %z as "z"
})",
                {{"y", layer}, {"z", layer}}, kGpu, type == DType::i8 ? 0.05 : 0.4, {{"y", {-0.17, 3}}});
    const Node* last = producer(after, "matmul");
    EXPECT_EQ(last->input(0)->dtype(), type == DType::i8 ? DType::u8 : type) << after.text;
    const Node* first = last->input(0)->producer();
    EXPECT_TRUE(first->is<MatMul>()) << after.text;
    EXPECT_EQ(first->input(0)->dtype(), type);
    EXPECT_TRUE(first->input(0)->producer()->is<DynamicQuantize>()) << after.text;
  }
}

// Two convolutions, the second with a residual: bytes flow from one to the next.
TEST(Apply, ConvolutionsHandBytesOn) {
  const Applied after = applied(R"(graph (%x: f32[b, 4, 6, 6]) {
  %v = constant {value = f32[4, 4, 3, 3] random(1)}
  %w = constant {value = f32[4, 4, 3, 3] random(2)}
  %a = conv(%x, %v) {strides = [1, 1], dilations = [1, 1], pads = [1, 1, 1, 1], epilogue = (x0) => relu(x0)}
  %c = conv(%a, %w, %a) {strides = [1, 1], dilations = [1, 1], pads = [1, 1, 1, 1], epilogue = (x0, x1) => add(x0, x1)}
  return %c as "c"
})",
                                {{"a", kBytes}, {"c", kBytes}}, kCpu, 0.6, {{"x", {-1, 1}}, {"a", {0, 8}}});
  const Node* last = producer(after, "conv");
  EXPECT_EQ(last->input(0)->dtype(), DType::u8) << after.text;
  EXPECT_TRUE(last->input(0)->producer()->is<Conv>()) << after.text;  // quantised while it stores
  const auto extras = last->inputs().subspan(2);
  EXPECT_EQ(std::count(extras.begin(), extras.end(), last->input(0)), 1) << after.text;  // the residual, as bytes
}

TEST(Apply, NormsReadAndLeaveHalves) {
  const Applied after = applied(R"(graph (%x: f32[n, 8], %r: f32[n, 8]) {
  %w = constant {value = f32[8, 8] random(1)}
  %scale = constant {value = f32[8] random(2)}
  %bias = constant {value = f32[8] random(3)}
  %y = matmul(%x, %w)
  %z, %sum = norm(%y, %r, %scale, %bias) {axis = 1, num_x = 2, prologue = (x0, x1) => add(x0, x1)}
  return %z as "z", %sum as "sum"
})",
                                {{"y", kHalf}, {"z", kHalf}}, kGpu, 2e-2);
  const Node* norm = producer(after, "norm");
  EXPECT_EQ(norm->input(0)->dtype(), DType::f16) << after.text;
  EXPECT_EQ(norm->input(1)->dtype(), DType::f32);  // read as it is, without a cast of its own
  EXPECT_EQ(norm->output()->dtype(), DType::f16);
}

TEST(Apply, MasksOfAttentionStayAsLargeAsTheyAre) {
  const Applied after = applied(R"(graph (%x: f32[b, n, 24], %mask: f32[b, 1, 1, n]) {
  %y = attention(%x, %x, %x, %mask) {heads = 2, kv_heads = 2, head_dim = 4, value_dim = 4, scale = 0.5,
    q_stride = 4, k_offset = 8, k_stride = 4, v_offset = 16, v_stride = 4,
    score = (x0, x1) => add(x0, mul(x1, 3e38:f32))}
  return %y as "y"
})",
                                {{"y", kHalf}}, kGpu, 5e-3);
  const Node* attention = producer(after, "attention");
  EXPECT_EQ(attention->input(0)->dtype(), DType::f16);
  EXPECT_EQ(attention->input(3)->dtype(), DType::f32) << after.text;
}

TEST(Apply, PackedAttentionKeepsWhereSequencesStart) {
  const Applied after = applied(R"(graph (%x: f32[b, n, 24], %mask: i64[b, n]) {
  %tokens, %starts, %rows = pack_tokens(%mask) : i32[t], i32[b + 2], i32[b, n]
  %list = reshape(%x) {shape = [b*n, 24]}
  %some = gather(%list, %tokens) {axis = 0}
  %p = reshape(%some) {shape = [1, t, 24]}
  %y = attention(%p, %p, %p, %starts) {heads = 2, kv_heads = 2, head_dim = 4, value_dim = 4, scale = 0.5,
    q_stride = 4, k_offset = 8, k_stride = 4, v_offset = 16, v_stride = 4, packed = true, longest = n,
    score = (x0) => mul(x0, 2:f32)}
  return %y as "y"
})",
                                {{"y", kHalf}}, kGpu, 5e-3);
  const Node* attention = producer(after, "attention");
  EXPECT_EQ(attention->input(0)->dtype(), DType::f16);
  EXPECT_TRUE(attention->input(3)->producer()->is<PackTokens>()) << after.text;
  EXPECT_EQ(attention->inputs().size(), 4u);
}

TEST(Apply, WeightsThatAreHalvesAlready) {
  std::string text = kDense;
  text.replace(text.find("f32[8, 4]"), 9, "f16[8, 4]");
  const Applied half = applied(text, {{"y", kHalf}}, kGpu, 5e-3);
  EXPECT_EQ(producer(half, "matmul")->input(0)->dtype(), DType::f16) << half.text;
  EXPECT_EQ(producer(half, "matmul")->input(1)->dtype(), DType::f16);
  const Applied bytes = applied(text, {{"y", kBytes}}, kCpu, 2e-2);
  EXPECT_EQ(producer(bytes, "matmul")->input(1)->dtype(), DType::i8) << bytes.text;
  const Applied wide = applied(text, {{"z", kHalf}}, kGpu, 5e-3);
  EXPECT_EQ(producer(wide, "matmul")->input(1)->dtype(), DType::f16) << wide.text;  // it stays as it is stored
}

TEST(Apply, WhatComputesInHalvesStaysAsItIs) {
  const std::string text = R"(graph (%ids: i64[n]) {
  %table = constant {value = f16[8, 4] random(1)}
  %scale = constant {value = f16[4] random(2)}
  %y = embedding(%ids, %table, %scale)
  return %y as "y"
})";
  EXPECT_EQ(producer(applied(text, {}, kGpu, 0), "embedding")->output()->dtype(), DType::f16);
}

TEST(Apply, TablesOfEmbeddings) {
  const std::string text = R"(graph (%ids: i64[n]) {
  %table = constant {value = f32[8, 4] random(1)}
  %scale = constant {value = f32[4] random(2)}
  %y = embedding(%ids, %table, %scale)
  return %y as "y"
})";
  const Applied narrow = applied(text, {{"y", kHalf}}, kGpu, 5e-3);
  EXPECT_EQ(producer(narrow, "embedding")->output()->dtype(), DType::f16) << narrow.text;
  const Applied stored = applied(text, {{"y", {DType::f16, DType::f32}}}, kCpu, 5e-3);
  EXPECT_EQ(producer(stored, "embedding")->input(1)->dtype(), DType::f16) << stored.text;
  EXPECT_EQ(producer(stored, "embedding")->output()->dtype(), DType::f32);
}

TEST(Apply, MovementTakesTheTypeOfWhatItMoves) {
  const Applied after = applied(R"(graph (%x: f32[n, 8], %r: f32[n, 4]) {
  %w = constant {value = f32[8, 4] random(1)}
  %y = matmul(%x, %w)
  %j = concat(%y, %r) {axis = 1}
  %t = transpose(%j) {perm = [1, 0]}
  %c = cumulative(%t) {axis = 0}
  return %c as "c"
})",
                                {{"y", kHalf}}, kGpu, 5e-2);
  EXPECT_EQ(producer(after, "transpose")->output()->dtype(), DType::f16) << after.text;
  EXPECT_EQ(producer(after, "cumulative")->input(0)->dtype(), DType::f32) << after.text;
}

}  // namespace
}  // namespace lathe::precision
