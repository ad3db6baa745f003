#include "graph/verifier.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/error.h"
#include "graph/text.h"
#include "tests/graph/every_op.h"

namespace lathe {
namespace {

TEST(Verifier, AcceptsEveryOp) { EXPECT_NO_THROW(verify(*parse_graph(test::kEveryOp))); }

TEST(Verifier, AcceptsRefinedTypes) {
  EXPECT_NO_THROW(verify(*parse_graph(R"(graph (%x: f32[a], %y: f32[b], %z: f32[*]) {
    %s = map(%x, %y) {program = (x0, x1) => add(x0, x1)} : f32[a]
    %n = non_zero(%x) : i64[1, found]
    %t = softmax(%z) : f32[a, 3]
    return %s as "s", %n as "n", %t as "t"
  })")));
}

struct BadGraph {
  std::string_view text, message;
};

class VerifierErrors : public testing::TestWithParam<BadGraph> {};

TEST_P(VerifierErrors, SaysWhatIsWrong) {
  const auto graph = parse_graph(GetParam().text);
  try {
    verify(*graph);
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_model);
    EXPECT_THAT(e.what(), testing::HasSubstr(GetParam().message));
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, VerifierErrors,
    testing::Values(
        BadGraph{"graph (%x: f32[2, 3]) { %y = transpose(%x) {perm = [1, 0]} : f32[2, 3] return %y as \"y\" }",
                 "node '%y' (transpose): %y is of type f32[2, 3], but the op gives f32[3, 2]"},
        BadGraph{"graph (%x: f32[n]) { %y = softmax(%x) {axis = 0} : f32[n + 1] @ \"soft\" return }",
                 "node 'soft' (softmax)"},
        BadGraph{"graph (%x: f32[2]) { %y = softmax(%x) {axis = 0} : f32[*] return }", "is of type f32[*]"},
        BadGraph{"graph (%x: f32[2]) { %y = softmax(%x) {axis = 3} : f32[2] return }", "axis 3 is not one of"},
        BadGraph{"graph (%x: f32[2]) { %y = softmax(%x) {axis = 0} : f16[2] return }", "is of type f16[2]"},
        BadGraph{"graph (%x: f32[2]) { %y, %z = softmax(%x) {axis = 0} : f32[2], f32[2] return }", "1 results, has 2"},
        BadGraph{"graph (%x: f32[2*n]) { return %x as \"x\" }", "symbol 'n' is mentioned before it is bound"},
        BadGraph{"graph (%x: f32[2]) { %y = map(%x) {program = (x0) => x0, shape = [k, 2]} return %y as \"y\" }",
                 "symbol 'k' is mentioned before it is bound"},
        BadGraph{"graph (%x: i64[1]) { %y = dims {values = [$0]} bind(%x) {symbols = [\"$0\"]} return %y as \"y\" }",
                 "symbol '$0' is mentioned before it is bound"},
        BadGraph{"graph (%x: i64[1]) { bind(%x) {symbols = [\"a b\"]} return }", "cannot be the name of a symbol"},
        BadGraph{"graph (%x: f32[-1]) { return %x as \"x\" }", "has type f32[-1]"},
        BadGraph{R"(graph (%c: bool[], %x: f32[2]) {
          %y = if(%c, %x) {then_branch = graph (%a: f32[2]) { %b = softmax(%a) {axis = 1} : f32[2] return %b as "b" },
                           else_branch = graph (%a: f32[2]) { return %a as "b" }} : f32[2]
          return %y as "y" })",
                 "node '%b' (softmax)"},
        BadGraph{R"(graph (%c: bool[], %x: f32[2]) {
          %y = if(%c, %x) {then_branch = graph (%a: f32[2]) { %b = dims {values = [hidden]} return %b as "b" },
                           else_branch = graph (%a: f32[2]) { %b = dims {values = [2]} return %b as "b" }} : i64[1]
          return %y as "y" })",
                 "symbol 'hidden'"}));

// One token of one sequence: what is written in place must be an input that nothing else uses.
std::string paged_graph(std::string_view before, std::string_view keys, std::string_view results) {
  return fmt::format(
      R"(graph (%x: f32[1, 4], %k: f32[9, 1, 2, 4], %v: f32[9, 1, 2, 4], %starts: i32[2], %lengths: i32[1],
                               %table: i32[1, 3]) {{
    {}
    %y = paged_attention(%x, %x, %x, {}, %v, %starts, %lengths, %table) {{head_dim = 4, value_dim = 4, block_size = 2}}
    return %y as "y"{} }})",
      before, keys, results);
}

TEST(VerifierState, AcceptsInputsOfTheirOwn) { EXPECT_NO_THROW(verify(*parse_graph(paged_graph("", "%k", "")))); }

TEST(VerifierState, RefusesWhatOthersUseOrCompute) {
  const auto refuse = [](std::string_view message, const std::string& text) {
    try {
      verify(*parse_graph(text));
      ADD_FAILURE() << "accepted " << text;
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), testing::HasSubstr(message));
    }
  };
  refuse("nothing else may use %v", paged_graph("", "%v", ""));
  refuse("nothing else may use %k", paged_graph("", "%k", ", %k as \"k\""));
  refuse("nothing else may use %k", paged_graph("%s = softmax(%k) {axis = 1}", "%k", ""));
  refuse("writes operand 3, which is not an input of the model", paged_graph("%s = softmax(%k) {axis = 1}", "%s", ""));
  refuse("which is not an input of the model", R"(graph (%c: bool[], %x: f32[1, 4], %k: f32[9, 1, 2, 4],
      %v: f32[9, 1, 2, 4], %starts: i32[2], %lengths: i32[1], %table: i32[1, 3]) {
    %r = if(%c, %x, %k, %v, %starts, %lengths, %table) {
      then_branch = graph (%a: f32[1, 4], %b: f32[9, 1, 2, 4], %d: f32[9, 1, 2, 4], %e: i32[2], %f: i32[1], %g: i32[1, 3]) {
        %y = paged_attention(%a, %a, %a, %b, %d, %e, %f, %g) {head_dim = 4, value_dim = 4, block_size = 2}
        return %y as "y" },
      else_branch = graph (%a: f32[1, 4], %b: f32[9, 1, 2, 4], %d: f32[9, 1, 2, 4], %e: i32[2], %f: i32[1], %g: i32[1, 3]) {
        return %a as "y" }}
    return %r as "r" })");
}

TEST(Verifier, AcceptsOuterSymbolsInsideRegions) {
  EXPECT_NO_THROW(verify(*parse_graph(R"(graph (%c: bool[], %x: f32[n]) {
    %y = if(%c) {then_branch = graph () { %b = dims {values = [n]} return %b as "b" },
                 else_branch = graph () { %b = dims {values = [2]} return %b as "b" }}
    return %y as "y" })")));
}

TEST(Verifier, FindsOperandsThatComeLater) {
  const auto graph = parse_graph(R"(graph (%x: f32[2]) {
    %y = softmax(%x) {axis = 0}
    %z = softmax(%y) {axis = 0}
    return %z as "z" })");
  graph->move_before(graph->nodes().back().get(), graph->nodes().front().get());
  EXPECT_THROW(verify(*graph), Error);
}

}  // namespace
}  // namespace lathe
