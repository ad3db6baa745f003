#include "graph/text.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "tests/graph/every_op.h"

namespace lathe {
namespace {

TEST(GraphText, EveryOpOccursInTheSharedGraph) {
  const auto graph = parse_graph(test::kEveryOp);
  std::vector<bool> seen(std::variant_size_v<AnyOp>, false);
  for (const auto& node : graph->nodes()) seen[node->op().index()] = true;
  for (size_t i = 0; i < seen.size(); ++i) EXPECT_TRUE(seen[i]) << "op number " << i << " of the variant is missing";
}

TEST(GraphText, EveryOpSurvivesTheRoundTrip) {
  const auto graph = parse_graph(test::kEveryOp);
  const std::string text = print(*graph);
  const auto again = parse_graph(text);
  EXPECT_EQ(print(*again), text);
  EXPECT_TRUE(structurally_equal(*graph, *again));
  EXPECT_EQ(again->name(), "every-op");
}

TEST(GraphText, ConstantsKeepTheirBits) {
  const auto graph = parse_graph(R"(graph () {
    %a = constant {value = f32[5] [0.1, 1e-45, -0, inf, 3.4028235e+38]}
    %b = constant {value = f16[2] [65504, 5.9604645e-08]}
    %c = constant {value = i64[2] [-9223372036854775808, 9223372036854775807]}
    %d = constant {value = c64[1] 0x0000803f000000c0}
    return %a as "a", %b as "b", %c as "c", %d as "d"
  })");
  const auto value = [](const Graph& g, size_t i) { return g.outputs()[i]->producer()->as<Constant>()->value; };
  const auto a = value(*graph, 0).as<float>();
  EXPECT_EQ(a[0], 0.1f);
  EXPECT_EQ(a[1], 1e-45f);
  EXPECT_TRUE(std::signbit(a[2]));
  EXPECT_EQ(value(*graph, 2).as<int64_t>()[0], INT64_MIN);
  const auto again = parse_graph(print(*graph));
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(value(*graph, i), value(*again, i)) << i;
}

TEST(GraphText, SplatAndRandomFillTensors) {
  const auto graph = parse_graph(R"(graph () {
    %s = constant {value = i32[2, 5] splat(-7)}
    %r = constant {value = f32[64, 64] random(3)}
    %q = constant {value = f32[64, 64] random(4)}
    return %s as "s", %r as "r", %q as "q"
  })");
  const auto value = [&](size_t i) { return graph->outputs()[i]->producer()->as<Constant>()->value; };
  for (const int32_t v : value(0).as<int32_t>()) EXPECT_EQ(v, -7);
  EXPECT_FALSE(value(1) == value(2));
  double sum = 0, squares = 0;
  for (const float v : value(1).as<float>()) {
    sum += v;
    squares += double{v} * v;
  }
  EXPECT_NEAR(sum / 4096, 0, 0.01);
  EXPECT_NEAR(squares / 4096, 1.0 / 64, 0.002);
  EXPECT_NE(print(*graph).find("i32[2, 5] splat(-7)"), std::string::npos);
}

TEST(GraphText, LongConstantsMayBeShortenedButNotReadBack) {
  const auto graph = parse_graph("graph () { %r = constant {value = f32[64] random(3)} return %r as \"r\" }");
  const std::string text = print(*graph, {.max_elements = 10});
  EXPECT_THAT(text, testing::ContainsRegex("f32\\[64\\] #[0-9a-f]+"));
  EXPECT_THROW(parse_graph(text), Error);
}

TEST(GraphText, TypesMayBeLeftToInference) {
  const auto graph = parse_graph(R"(graph (%x: f32[u0, 4]) {
    %z = non_zero(%x)
    %y = transpose(%x) {perm = [1, 0]}
    return %y as "y", %z as "z"
  })");
  EXPECT_EQ(to_string(graph->outputs()[0]->type()), "f32[4, u0]");
  // The fresh symbol must not be the one that the text already uses.
  EXPECT_EQ(to_string(graph->outputs()[1]->type()), "i64[2, u1]");
}

struct BadText {
  std::string_view text, message;
};

class GraphTextErrors : public testing::TestWithParam<BadText> {};

TEST_P(GraphTextErrors, NamesThePlace) {
  try {
    parse_graph(GetParam().text);
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    EXPECT_THAT(e.what(), testing::HasSubstr(GetParam().message));
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, GraphTextErrors,
    testing::Values(
        BadText{"", "line 1, column 1: 'graph' expected"},
        BadText{"graph () {\n  %y = no_such(%x)\n return }", "line 2, column 8: there is no op named 'no_such'"},
        BadText{"graph () {\n  %y = reshape(%x)\n return }", "line 2, column 16: %x is not defined"},
        BadText{"graph (%x: f32[2], %x: f32[2]) { return }", "column 20: %x is defined twice"},
        BadText{"graph (%x: f33[2]) { return }", "column 12: 'f33' is not an element type"},
        BadText{"graph (%x: f32[2 +]) { return }", "column 16: '2 +' is not a dimension expression"},
        BadText{"graph (%x: f32[2]) { %y = softmax(%x) {axes = 1} return }", "softmax has no field 'axes'"},
        BadText{"graph (%x: f32[2]) { %y = softmax(%x) {axis = one} return }", "'one' is not a number"},
        BadText{"graph (%x: f32[2]) { %y = softmax(%x) {axis = 0, log = 1} return }", "'false' expected"},
        BadText{"graph (%x: f32[2]) { %y = softmax(%x) {axis = 1} return }", "axis 1 is not one of the 1 axes"},
        BadText{"graph (%x: f32[2]) { %y = reduce(%x) {kind = median} return }", "'median' is none of: sum, mean,"},
        BadText{"graph (%x: f32[2]) { %y = map(%x) {program = (x0) => foo(x0)} return }", "unknown operation 'foo'"},
        BadText{"graph (%x: f32[2]) { %y, %z = softmax(%x) {axis = 0} return }", "2 names for 1 results"},
        BadText{"graph () { %y = constant {value = f32[3] [1, 2]} return }", "',' expected"},
        BadText{"graph () { %y = constant {value = f32[1000000000] [1]} return }", "1000000000 elements expected"},
        BadText{"graph () { %y = constant {value = f32[99999999999] splat(1)} return }", "the tensor is too large"},
        BadText{"graph () { %y = constant {value = f32[4294967296, 4294967296] []} return }", "too large"},
        BadText{"graph () { %y = constant {value = string[1] [\"abc} return }", "the string does not end"},
        BadText{"graph () { %y = constant {value = u8[1] [x]} return }", "'x' is not a number"},
        BadText{"graph (%x: f32[2]) { return _ as \"y\" }", "an output cannot be absent"},
        BadText{"graph () { return } trailing", "column 21: nothing may follow the graph"}));

TEST(GraphText, DeepNestingIsAnError) {
  std::string text;
  for (int i = 0; i < 10000; ++i) text += "graph () { %y = if(%c) {then_branch = ";
  EXPECT_THROW(parse_graph(text), Error);
  EXPECT_THROW(parse_graph("graph (%x: f32[" + std::string(100000, '(') + "]) { return }"), Error);
}

}  // namespace
}  // namespace lathe
