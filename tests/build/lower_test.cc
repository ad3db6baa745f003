// lower(): which candidate serves a node, what is said about those that do not, and how operands are wired.
#include <gtest/gtest.h>

#include "base/error.h"
#include "build/program.h"
#include "graph/text.h"
#include "tests/build/scripted_backend.h"

namespace lathe {
namespace {

const ScriptedBackend kFallback("slow", {{"map", {"slow_map"}}, {"matmul", {"slow_product"}}, {"reshape", {"slow"}}});

Program lower(const Graph& graph, const Backend& backend, const ScriptedBackend& fallback,
              const KernelChoices& choices = {}) {
  std::vector<std::unique_ptr<Backend>> fallbacks;
  fallbacks.push_back(std::make_unique<ScriptedBackend>(fallback));
  return lathe::lower(graph, backend, fallbacks, choices);
}

constexpr const char* kOneMap = R"(graph g(%x: f32[n]) {
  %y = map(%x) {program = (x0) => neg(x0)}
  return %y as "y"
})";

TEST(Lower, TheFirstThatAcceptsServes) {
  const auto graph = parse_graph(kOneMap);
  const ScriptedBackend backend("fast", {{"map", {"best!too small", "good", "worse"}}});
  const Program program = lower(*graph, backend, kFallback);
  ASSERT_EQ(program.steps.size(), 1u);
  EXPECT_EQ(program.steps[0].kernel, "good");
  EXPECT_EQ(program.steps[0].reason, "best: too small");
  EXPECT_FALSE(program.steps[0].fallback);
}

TEST(Lower, AChoiceComesFirstIfItStillAccepts) {
  const auto graph = parse_graph(kOneMap);
  const ScriptedBackend backend("fast", {{"map", {"best", "good", "odd!broken"}}});
  EXPECT_EQ(lower(*graph, backend, kFallback, {{0, "good"}}).steps[0].kernel, "good");
  EXPECT_EQ(lower(*graph, backend, kFallback, {{0, "odd"}}).steps[0].kernel, "best");
  EXPECT_EQ(lower(*graph, backend, kFallback, {{0, "gone"}}).steps[0].kernel, "best");
  EXPECT_EQ(lower(*graph, backend, kFallback, {{7, "good"}}).steps[0].kernel, "best");
}

KernelChoice by_size(std::vector<KernelRange> ranges) {
  KernelChoice choice;
  choice.ranges = std::move(ranges);
  return choice;
}

TEST(Lower, KernelsTakeTurnsBySize) {
  const auto graph = parse_graph(R"(graph g(%x: f32[n, 2]) {
    %w = constant {value = f32[2, 2] [1, 2, 3, 4]}
    %y = matmul(%x, %w)
    return %y as "y"
  })");
  const ScriptedBackend backend("fast", {{"matmul", {"plain", "few", "packed@panels", "odd!broken", "alias"}}});
  const auto choice_of = [&](std::vector<KernelRange> ranges) {
    return lower(*graph, backend, kFallback, {{1, by_size(std::move(ranges))}}).steps.at(0).choice;
  };
  EXPECT_EQ(choice_of({{"few", 8}, {"plain", kAnySize}}), by_size({{"few", 8}, {"plain", kAnySize}}));
  EXPECT_EQ(choice_of({{"few", 8}, {"packed", kAnySize}}), "packed") << "the layouts differ";
  EXPECT_EQ(choice_of({{"alias", 8}, {"plain", kAnySize}}), "plain") << "an alias is no step";
  EXPECT_EQ(choice_of({{"gone", 8}, {"plain", kAnySize}}), "plain");
  EXPECT_EQ(choice_of({{"few", 8}, {"odd", kAnySize}}), "few") << "serves all when the others are gone";
  EXPECT_EQ(choice_of({}), "plain");
}

TEST(Lower, TheFallbackServesAndTheReasonSaysWhy) {
  const auto graph = parse_graph(kOneMap);
  const Program declined = lower(*graph, ScriptedBackend("fast", {{"map", {"a!no a", "b!no b"}}}), kFallback);
  EXPECT_EQ(declined.steps[0].kernel, "slow_map");
  EXPECT_TRUE(declined.steps[0].fallback);
  EXPECT_EQ(declined.steps[0].reason, "a: no a; b: no b");
  EXPECT_NE(lower(*graph, ScriptedBackend("fast", {}), kFallback).steps[0].reason.find("fast"), std::string::npos);
}

TEST(Lower, NobodyServes) {
  const auto graph = parse_graph(R"(graph g(%x: f32[n]) {
    %y = map(%x) {program = (x0) => neg(x0)} @ "the culprit"
    return %y as "y"
  })");
  try {
    lower(*graph, ScriptedBackend("fast", {{"map", {"a!no a"}}}), ScriptedBackend("slow", {{"map", {"b!no b"}}}));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_EQ(error.node(), "the culprit");
    EXPECT_NE(error.message().find("no a"), std::string::npos);
  }
}

TEST(Lower, UnknownRanksGoToTheFallback) {
  const auto graph = parse_graph(R"(graph g(%x: f32[*]) {
    %y = map(%x) {program = (x0) => neg(x0)}
    return %y as "y"
  })");
  const Program program = lower(*graph, ScriptedBackend("fast", {{"map", {"best"}}}), kFallback);
  EXPECT_TRUE(program.steps[0].fallback);
  EXPECT_FALSE(program.steps[0].reason.empty());
}

TEST(Lower, AliasesShareTheMemoryOfTheirRoot) {
  const auto graph = parse_graph(R"(graph g(%x: f32[4]) {
    %a = map(%x) {program = (x0) => neg(x0)}
    %b = reshape(%a) {shape = [2, 2]}
    %c = reshape(%b) {shape = [4, 1]}
    %d = reshape(%x) {shape = [1, 4]}
    return %c as "c", %d as "d"
  })");
  const Program program = lower(*graph, ScriptedBackend("fast", {{"map", {"m"}}, {"reshape", {"alias"}}}), kFallback);
  ASSERT_EQ(program.steps.size(), 1u);
  const auto root_of = [&](int value) { return program.values[static_cast<size_t>(value)].root; };
  EXPECT_EQ(root_of(program.outputs[0]), program.steps[0].outputs[0]);
  EXPECT_EQ(root_of(program.outputs[1]), program.inputs[0]);
}

TEST(Lower, OneWeightPerConstantAndLayout) {
  const auto graph = parse_graph(R"(graph g(%x: f32[n, 4]) {
    %w = constant {value = f32[4, 4] random(1)}
    %unused = constant {value = f32[4, 4] random(2)}
    %a = matmul(%x, %w)
    %b = matmul(%a, %w)
    %c = map(%w) {program = (x0) => neg(x0)}
    return %b as "b", %c as "c", %w as "w"
  })");
  const Program program = lower(*graph, ScriptedBackend("fast", {{"matmul", {"p@panels"}}, {"map", {"m"}}}), kFallback);
  ASSERT_EQ(program.weights.size(), 2u);
  EXPECT_EQ(program.steps[0].inputs[1], program.steps[1].inputs[1]);
  EXPECT_NE(program.steps[0].inputs[1], program.steps[2].inputs[0]);
  EXPECT_EQ(program.outputs[2], program.steps[2].inputs[0]) << "an output is plain";
  for (const int value : {program.steps[0].inputs[1], program.outputs[2]}) {
    const ProgramValue& entry = program.values[static_cast<size_t>(value)];
    EXPECT_EQ(program.weights[static_cast<size_t>(entry.weight)].layout.plain(), value == program.outputs[2]);
  }
}

TEST(Lower, BindIsTheExecutorsOwnAndAbsentOperandsStayAbsent) {
  const auto graph = parse_graph(R"(graph g(%x: f32[n, 4], %k: i64[1]) {
    bind(%k) {symbols = ["$0"]}
    %g = constant {value = f32[4] splat(1)}
    %y = norm(%x, _, %g) {axis = 1, epsilon = 1e-06}
    return %y as "y"
  })");
  const Program program = lower(*graph, ScriptedBackend("fast", {{"norm", {"n"}}}), kFallback);
  ASSERT_EQ(program.steps.size(), 2u);
  EXPECT_EQ(program.steps[0].step, nullptr);
  EXPECT_EQ(program.steps[0].kernel, "bind");
  EXPECT_TRUE(program.steps[0].outputs.empty());
}

}  // namespace
}  // namespace lathe
