// What passes do around the regions of control flow.
#include "tests/passes/pass_test.h"

namespace lathe::passes {
namespace {

const Graph& region_of(const Rewritten& result, size_t region = 0) {
  for (const auto& node : result.graph->nodes())
    if (const auto regions = regions_of(node->op()); !regions.empty()) return regions[region]->graph();
  ADD_FAILURE() << "there are no regions";
  return *result.graph;
}

constexpr std::string_view kLoop = R"(graph loop(%trips: i64[], %x: f32[n, 4]) {
  %w = constant {value = f32[4, 4] random(3)}
  %unread = map(%x) {program = (x0) => neg(x0)}
  %last = loop(%trips, _, %x, %w, %unread) {num_carried = 1, body = graph (%i: i64[], %go: bool[], %v: f32[r, 4], %m: f32[4, 4], %u: f32[n, 4]) {
    %y = matmul(%v, %m)
    return %go as "go", %y as "v"
  }}
  return %last as "last"
})";

TEST(Regions, CapturedConstantsSinkAndUnreadCapturesGo) {
  const Rewritten result = rewrite(kLoop, simplify_captures, {{"n", 2}});
  EXPECT_EQ(result.rewrites, 1);
  EXPECT_EQ(result.graph->num_nodes(), 1u) << result.text;
  const Graph& body = region_of(result);
  EXPECT_EQ(body.inputs().size(), 3u) << "the number, the condition and what is carried";
  ASSERT_EQ(body.num_nodes(), 2u);
  EXPECT_TRUE(body.nodes().front()->is<Constant>());
  EXPECT_EQ(simplify_captures(*result.graph), 0) << "nothing is left to do";
}

TEST(Regions, BothBranchesGetTheConstantWithoutACopy) {
  const Rewritten result = rewrite(R"(graph branches(%flag: bool[], %x: f32[n, 4]) {
    %w = constant {value = f32[4, 4] random(3)}
    %y = if(%flag, %x, %w) {then_branch = graph (%a: f32[n, 4], %m: f32[4, 4]) {
      %y = matmul(%a, %m)
      return %y as "y"
    }, else_branch = graph (%a: f32[n, 4], %m: f32[4, 4]) {
      %s = matmul(%a, %m)
      %y = map(%s) {program = (x0) => neg(x0)}
      return %y as "y"
    }}
    return %y as "y"
  })",
                                   simplify_captures, {{"n", 3}});
  const auto weight = [&](size_t region) {
    return region_of(result, region).nodes().front()->as<Constant>()->value.bytes().data();
  };
  EXPECT_EQ(weight(0), weight(1));
}

// The symbol r has its value from the captured constant alone, so the capture has to stay.
TEST(Regions, ACaptureThatBindsASymbolStays) {
  const Rewritten result = rewrite(R"(graph bound(%flag: bool[], %x: f32[2]) {
    %w = constant {value = f32[3] random(3)}
    %y = if(%flag, %w) {then_branch = graph (%a: f32[r]) {
      %y = dims {values = [r]}
      return %y as "y"
    }, else_branch = graph (%a: f32[r]) {
      %y = dims {values = [2*r]}
      return %y as "y"
    }}
    return %y as "y", %x as "x"
  })",
                                   simplify_captures);
  EXPECT_EQ(region_of(result).inputs().size(), 1u) << result.text;
}

TEST(Regions, ScansRunAlongTheFirstAxis) {
  const Rewritten result = rewrite(R"(graph scan(%s: f32[k], %x: f32[k, n]) {
    %last, %all = scan(%s, %x) {num_states = 1, num_scanned = 1, input_axes = [1], output_axes = [1], input_reversed = [1], output_reversed = [0], body = graph (%s: f32[p], %a: f32[p]) {
      %t = map(%s, %a) {program = (x0, x1) => add(x0, x1)}
      return %t as "s", %t as "all"
    }}
    return %last as "last", %all as "all"
  })",
                                   simplify_captures, {{"k", 3}, {"n", 4}});
  EXPECT_EQ(result.count("transpose"), 2) << result.text;
  EXPECT_EQ(simplify_captures(*result.graph), 0);
}

TEST(Regions, EqualConstantsShareTheirBytes) {
  std::string text = R"(graph twins(%flag: bool[], %x: f32[n, 32]) {
    %y = if(%flag, %x) {then_branch = graph (%a: f32[n, 32]) {
      %w = constant {value = f32[32, 32] random(3)}
      %y = matmul(%a, %w)
      return %y as "y"
    }, else_branch = graph (%a: f32[n, 32]) {
      %w = constant {value = f32[32, 32] random(SEED)}
      %y = matmul(%a, %w)
      return %y as "y"
    }}
    return %y as "y"
  })";
  const auto with_seed = [&](const char* seed) {
    std::string copy = text;
    return copy.replace(copy.find("SEED"), 4, seed);
  };
  EXPECT_EQ(rewrite(with_seed("3"), share_constants, {{"n", 2}}).rewrites, 1);
  EXPECT_EQ(rewrite(with_seed("4"), share_constants, {{"n", 2}}).rewrites, 0);
  const Rewritten result = rewrite(with_seed("3"), share_constants, {{"n", 2}});
  EXPECT_EQ(region_of(result, 0).nodes().front()->as<Constant>()->value.bytes().data(),
            region_of(result, 1).nodes().front()->as<Constant>()->value.bytes().data());
  EXPECT_EQ(share_constants(*result.graph), 0);
}

}  // namespace
}  // namespace lathe::passes
