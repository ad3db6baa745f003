// Padding removal: which graphs it takes, and that all that is no padding comes out the same.
#include "tests/passes/pass_test.h"

namespace lathe::passes {
namespace {

constexpr int64_t kBatch = 4, kLength = 6;

// A layer of an encoder over tokens [b, s, 8], with `mask` computing %bias [b, 1, 1, s] of %mask and `result` the
// outputs of %y.
std::string encoder(const std::string& mask_type, const std::string& mask, const std::string& result,
                    const std::string& score = "(x0, x1) => add(x0, x1)") {
  return "graph (%ids: i64[b, s], %mask: " + mask_type + R"([b, s]) {
    %words = constant {value = f32[50, 8] random(1)}
    %places = constant {value = f32[10, 8] random(2)}
    %gain = constant {value = f32[8] random(3)}
    %place = map() {program = () => iota(-1), shape = [1, s]}
    %x = embedding(%ids, %words, %place, %places, %gain, %gain) {num_tables = 2}
    %wqkv = constant {value = f32[8, 24] random(4)}
    %wo = constant {value = f32[8, 8] random(5)}
    %wp = constant {value = f32[8, 3] random(6)}
    %qkv = matmul(%x, %wqkv)
    %m4 = reshape(%mask) {shape = [b, 1, 1, s]}
)" + mask +
         R"(
    %a = attention(%qkv, %qkv, %qkv, %bias) {heads = 2, kv_heads = 2, head_dim = 4, value_dim = 4, scale = 0.5,
        q_stride = 4, k_offset = 8, k_stride = 4, v_offset = 16, v_stride = 4, score = )" +
         score + R"(}
    %o = matmul(%a, %wo, %x) {epilogue = (x0, x1) => add(x0, x1)}
    %y = norm(%o, %gain, _) {axis = 2, num_x = 1}
)" + result +
         "}";
}

const std::string kAdditive = "%bias = map(%m4) {program = (x0) => mul(sub(1:f32, cast<f32>(x0)), -10000:f32)}";
const std::string kFirst = R"(
    %f = slice(%y) {axes = [1], starts = [0], sizes = [1], steps = [1]}
    %g = reshape(%f) {shape = [b, 8]}
    %z = matmul(%g, %wp)
    return %z as "z"
)";
const std::string kAll = "return %y as \"y\"\n";

// Right padding, left padding, holes, and a row that is all padding.
const std::vector<int64_t> kMask = {1,      1, 1, 0, 0, 0, /**/ 0, 0, 0, 1, 1, 1,
                                    /**/ 1, 0, 1, 1, 0, 1, /**/ 0, 0, 0, 0, 0, 0};

std::vector<RefValue> inputs_for(const Graph& graph, const std::vector<int64_t>& mask) {
  Tensor ids(DType::i64, {kBatch, kLength}), bits(graph.inputs()[1]->dtype(), {kBatch, kLength});
  for (int64_t i = 0; i < ids.elements(); ++i) ids.write_int(i, i * 7 % 50);
  for (int64_t i = 0; i < bits.elements(); ++i) bits.write_double(i, static_cast<double>(mask[static_cast<size_t>(i)]));
  return {ids, bits};
}

Tensor output_of(const Graph& graph, const std::vector<int64_t>& mask, size_t which = 0) {
  SymbolBindings symbols;
  return std::get<Tensor>(evaluate(graph, inputs_for(graph, mask), symbols).at(which));
}

std::unique_ptr<Graph> packed(const std::string& text, int (*pass)(Graph&) = pack_tokens) {
  auto graph = parse_graph(text);
  pass(*graph);
  dead_code(*graph);
  verify(*graph);
  return graph;
}

int packings(const Graph& graph) {
  return static_cast<int>(std::count_if(graph.nodes().begin(), graph.nodes().end(),
                                        [](const auto& node) { return node->template is<PackTokens>(); }));
}

// Elements that `matter` are the same; the others are 0.
void expect_same(const Tensor& actual, const Tensor& expected, const std::function<bool(int64_t)>& matters) {
  ASSERT_EQ(actual.dims(), expected.dims());
  for (int64_t i = 0; i < actual.elements(); ++i) {
    if (matters(i))
      EXPECT_NEAR(actual.read_double(i), expected.read_double(i), 1e-5) << i;
    else
      EXPECT_EQ(actual.read_double(i), 0) << i;
  }
}
bool always(int64_t) { return true; }

TEST(PackTokens, FirstTokensAreTheSameWithAnyMask) {
  const std::string text = encoder("i64", kAdditive, kFirst);
  const auto graph = packed(text);
  EXPECT_EQ(packings(*graph), 1) << print(*graph);
  EXPECT_EQ(print(*graph).find("f32[b, s, 8]"), std::string::npos) << print(*graph);
  EXPECT_EQ(print(*graph).find("gather(%ids"), std::string::npos) << "the embedding picks its ids: " << print(*graph);
  EXPECT_EQ(print(*graph).find("slice(%y"), std::string::npos) << "first tokens are gathered: " << print(*graph);
  const std::vector<int64_t> full(kMask.size(), 1), none(kMask.size(), 0);
  std::vector<int64_t> odd = kMask;
  odd[3] = 2, odd[12] = -1;
  for (const auto& mask : {kMask, full, none, odd})
    expect_same(output_of(*graph, mask), output_of(*parse_graph(text), mask), always);
}

TEST(PackTokens, MasksInAllSpellings) {
  struct Spelling {
    std::string type, bias, score;
    bool inverted = false;
  };
  const std::string add = "(x0, x1) => add(x0, x1)";
  for (const Spelling& s : std::vector<Spelling>{
           {"f32", "%bias = map(%m4) {program = (x0) => mul(sub(1:f32, x0), -3.4028235e+38:f32)}", add},
           {"bool", "%bias = map(%m4) {program = (x0) => select(x0, 0:f32, -inf:f32)}", add},
           {"i32", "%bias = map(%m4) {program = (x0) => ne(x0, 0:i32)}", "(x0, x1) => select(x1, x0, -10000:f32)"},
           {"bool", "%bias = map(%m4) {program = (x0) => x0}", "(x0, x1) => select(logical_not(x1), x0, -inf:f32)",
            true},
           {"i64",
            "%c = constant {value = f32[] [-65504]} %h = map(%m4) {program = (x0) => sub(1:f32, cast<f32>(x0))}"
            "%bias = map(%h, %c) {program = (x0, x1) => mul(x0, x1)}",
            "(x0, x1) => add(mul(x0, 0.5:f32), x1)"}}) {
    const std::string text = encoder(s.type, s.bias, kFirst, s.score);
    const auto graph = packed(text);
    EXPECT_EQ(packings(*graph), 1) << text;
    std::vector<int64_t> mask = kMask;
    if (s.inverted)
      for (int64_t& bit : mask) bit = 1 - bit;
    expect_same(output_of(*graph, mask), output_of(*parse_graph(text), mask), always);
  }
}

TEST(PackTokens, MasksThatOnlyWeakenKeysStay) {
  for (const std::string bias : {"%bias = map(%m4) {program = (x0) => mul(sub(1:f32, cast<f32>(x0)), -3:f32)}",
                                 "%bias = map(%m4) {program = (x0) => mul(cast<f32>(x0), -inf:f32)}",  // 0 * inf
                                 "%bias = map(%m4) {program = (x0) => select(gt(x0, iota(-1)), 0:f32, -inf:f32)}"})
    EXPECT_EQ(packings(*packed(encoder("i64", bias, kFirst))), 0) << bias;
}

TEST(PackTokens, OutputsThatShowTokensAreLeftAloneUnlessAskedFor) {
  const std::string text = encoder("i64", kAdditive, kAll);
  EXPECT_EQ(packings(*packed(text)), 0);
  const auto graph = packed(text, pack_outputs);
  EXPECT_EQ(packings(*graph), 1);
  expect_same(output_of(*graph, kMask), output_of(*parse_graph(text), kMask), [](int64_t i) {
    constexpr int64_t kEmptyRow = 3;  // which is kept whole
    const int64_t token = i / 8;
    return kMask[static_cast<size_t>(token)] == 1 || token / kLength == kEmptyRow;
  });
}

TEST(PackTokens, WhatMixesTokensStays) {
  for (const std::string result :
       {"%r = reduce(%y) {kind = mean, axes = [1], keep_dims = false} return %r as \"r\"",
        "%f = slice(%y) {axes = [1], starts = [1], sizes = [1], steps = [1]} return %f as \"f\"",
        "%t = transpose(%y) {perm = [1, 0, 2]} return %t as \"t\"",
        "%p = map(%y) {program = (x0) => mul(x0, cast<f32>(iota(-2)))} return %p as \"p\""}) {
    const std::string text = encoder("i64", kAdditive, result + "\n");
    EXPECT_EQ(packings(*packed(text, pack_outputs)), 0) << result;
  }
}

TEST(PackTokens, ValuesOfBeforeMayBeSeenElsewhere) {
  const std::string text = encoder("i64", kAdditive, R"(
    %f = slice(%y) {axes = [1], starts = [0], sizes = [1], steps = [1]}
    %sum = reduce(%x) {kind = sum, axes = [0, 1], keep_dims = false}
    return %f as "f", %sum as "sum", %x as "x"
)");
  const auto graph = packed(text);
  EXPECT_EQ(packings(*graph), 1);
  for (const size_t which : {0, 1, 2})
    expect_same(output_of(*graph, kMask, which), output_of(*parse_graph(text), kMask, which), always);
}

TEST(PackTokens, PipelineObeysTheOption) {
  const std::string text = encoder("i64", kAdditive, kFirst), shown = encoder("i64", kAdditive, kAll);
  const auto count = [](const std::string& model, Packing packing) {
    const auto graph = parse_graph(model);
    PassOptions options;
    options.packing = packing;
    run_pipeline(*graph, options);
    return packings(*graph);
  };
  EXPECT_EQ(count(text, Packing::automatic), 1);
  EXPECT_EQ(count(text, Packing::always), 1);
  EXPECT_EQ(count(text, Packing::never), 0);
  EXPECT_EQ(count(shown, Packing::automatic), 0);
  EXPECT_EQ(count(shown, Packing::always), 1);
}

}  // namespace
}  // namespace lathe::passes
