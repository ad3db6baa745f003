#include "passes/pipeline.h"

#include "base/error.h"
#include "tests/passes/pass_test.h"

namespace lathe::passes {
namespace {

constexpr std::string_view kSmall = R"(graph (%x: f32[n, 4]) {
  %one = constant {value = f32[] [1]}
  %a = map(%x, %one) {program = (x0, x1) => mul(x0, x1)}
  %dead = map(%x) {program = (x0) => exp(x0)}
  %y = map(%a) {program = (x0) => relu(x0)}
  return %y as "y"
})";

TEST(Pipeline, ReportsEachPassAndItsCounts) {
  const auto graph = parse_graph(kSmall);
  const auto reports = run_pipeline(*graph);
  ASSERT_FALSE(reports.empty());
  EXPECT_EQ(reports.front().name, "dead-code");
  EXPECT_EQ(reports.front().nodes_before, 4u);
  EXPECT_EQ(reports.front().nodes_after, 3u);
  EXPECT_EQ(reports.front().rewrites, 1);
  EXPECT_EQ(graph->num_nodes(), 1u);
}

TEST(Pipeline, LeavesOutDisabledPassesEverywhere) {
  const auto graph = parse_graph(kSmall);
  PassOptions options;
  options.disabled = {"dead-code", "simplify-maps"};
  for (const PassReport& report : run_pipeline(*graph, options))
    EXPECT_TRUE(report.name != "dead-code" && report.name != "simplify-maps") << report.name;
  EXPECT_NE(print(*graph).find("mul"), std::string::npos);
}

TEST(Pipeline, UnknownNamesGetASuggestion) {
  const auto graph = parse_graph(kSmall);
  PassOptions options;
  options.disabled = {"dead-cod"};
  try {
    run_pipeline(*graph, options);
    FAIL() << "an unknown pass was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    EXPECT_NE(std::string(e.what()).find("dead-code"), std::string::npos);
  }
  EXPECT_EQ(graph->num_nodes(), 4u);
}

TEST(Pipeline, IsDeterministic) {
  const auto a = parse_graph(kSmall), b = parse_graph(kSmall);
  run_pipeline(*a);
  run_pipeline(*b);
  EXPECT_EQ(print(*a), print(*b));
}

TEST(Pipeline, TracesEveryRun) {
  const auto graph = parse_graph(kSmall);
  size_t traced = 0;
  PassOptions options;
  options.trace = [&](const PassReport&, const Graph&) { ++traced; };
  EXPECT_EQ(run_pipeline(*graph, options).size(), traced);
}

TEST(Pipeline, TableNamesEachPassOnceAndDescribesIt) {
  std::map<std::string_view, int (*)(Graph&)> functions;
  for (const PassInfo& pass : pass_table()) {
    EXPECT_FALSE(pass.description.empty()) << pass.name;
    EXPECT_EQ(functions.try_emplace(pass.name, pass.run).first->second, pass.run) << pass.name;
  }
}

}  // namespace
}  // namespace lathe::passes
