// What a build tells of waiting: sizes, conditions, steps on the host, and memory that grows.
#include "build/waits.h"

#include <gtest/gtest.h>

#include "graph/text.h"
#include "tests/build/scripted_backend.h"

namespace lathe {
namespace {

using Ops = std::set<std::string, std::less<>>;

Waits waits_of(const char* text) {
  const auto graph = parse_graph(text);
  const ScriptedBackend device("device", {{"map", {"map"}},
                                          {"non_zero", {"non_zero"}},
                                          {"gather", {"gather"}},
                                          {"bind", {"bind"}},
                                          {"pack_tokens", {"pack_tokens"}}});
  std::vector<std::unique_ptr<Backend>> host;
  host.push_back(std::make_unique<ScriptedBackend>(
      "host", std::map<std::string, std::vector<std::string>, std::less<>>{{"softmax", {"softmax"}}}));
  return find_waits(lower(*graph, device, host));
}

TEST(Waits, NoneWhereSizesFollowFromTheInputs) {
  const Waits waits = waits_of(R"(graph (%x: f32[n, 2], %mask: i64[b, s]) {
    %y = map(%x) {program = (x0) => neg(x0)}
    %t, %starts, %rows = pack_tokens(%mask) : i32[t], i32[b + 2], i32[b, s]
    return %y as "y", %t as "t"
  })");
  EXPECT_EQ(waits.steps(), 0u);
  EXPECT_EQ(waits.growing, 0u);
}

TEST(Waits, SizesThatOnlyTheRunKnows) {
  const Waits waits = waits_of(R"(graph (%x: f32[n], %mask: i64[b, s]) {
    %i = non_zero(%x)
    %y = map(%i) {program = (x0) => neg(x0)}
    %computed = map(%mask) {program = (x0) => neg(x0)}
    %t, %starts, %rows = pack_tokens(%computed) : i32[t], i32[b + 2], i32[b, s]
    return %y as "y", %t as "t"
  })");
  EXPECT_EQ(waits.sizes.steps, 2u);
  EXPECT_EQ(waits.sizes.ops, (Ops{"non_zero", "pack_tokens"}));
  EXPECT_EQ(waits.growing, 3u);  // %i, %y, %t
  EXPECT_EQ(waits.steps(), 2u);
}

TEST(Waits, ConditionsAndWhatTheHostDoes) {
  const Waits waits = waits_of(R"(graph (%c: bool[], %x: f32[n]) {
    %y = if(%c, %x) {then_branch = graph (%a: f32[n]) {
      %s = softmax(%a) {axis = 0}
      return %s as "y"
    }, else_branch = graph (%b: f32[n]) {
      %m = map(%b) {program = (x0) => neg(x0)}
      return %m as "y"
    }}
    return %y as "y"
  })");
  EXPECT_EQ(waits.conditions.ops, Ops{"if"});
  EXPECT_EQ(waits.conditions.steps, 1u);
  EXPECT_EQ(waits.fallbacks.ops, Ops{"softmax"});
  EXPECT_EQ(waits.sizes.steps, 0u);
}

}  // namespace
}  // namespace lathe
