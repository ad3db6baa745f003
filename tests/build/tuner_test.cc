// Which kernel the tuner takes from given times, and what it measures when there are none.
#include "build/tuner.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "graph/text.h"
#include "tests/base/temporary_folder.h"
#include "tests/build/scripted_backend.h"

namespace lathe {
namespace {

// One product with a constant right-hand side: two kernels can do it.
constexpr std::string_view kModel =
    "graph g(%x: f32[batch, 8]) { %w = constant {value = f32[8, 4] random(1)} %y = matmul(%x, %w) return %y as \"y\" }";

Profile rows(int64_t min, int64_t usual, int64_t max) { return {{"x", {{min, 8}, {usual, 8}, {max, 8}}}}; }
Profile rows(int64_t all) { return rows(all, all, all); }

struct Tuned {
  CompiledModel model;
  TuneOptions options{1, {rows(3)}, {}};

  explicit Tuned(std::string_view text = kModel) {
    CompileOptions as_written;
    as_written.isa = Isa::generic;
    as_written.optimise = false;
    model = compile(parse_graph(std::string(text)), as_written);
  }
  KernelChoices run(TimingCache& cache) { return tune(model, options, cache); }
};

// The cache after measuring for one profile per pair of times, with the times of its entries replaced.
TimingCache with_times(const std::filesystem::path& file, const std::vector<std::pair<double, double>>& times) {
  TimingCache measured;
  std::string text;
  for (size_t i = 0; i < times.size(); ++i) {
    Tuned tuned;
    tuned.options.profiles = {rows(static_cast<int64_t>(i) + 3)};
    TimingCache one;
    tuned.run(one);
    one.save(file);
    std::ifstream in(file);
    text.assign((std::istreambuf_iterator<char>(in)), {});
    const size_t begin = text.find("matmul#");
    const std::string key = text.substr(begin, text.find('"', begin) - begin);
    measured.insert(key, "gemm", times[i].first);
    measured.insert(key, "gemm_batched", times[i].second);
  }
  return measured;
}

TEST(Tuner, MeasuresOnceAndThenReadsTheCache) {
  Tuned tuned;
  TimingCache cache;
  const KernelChoices first = tuned.run(cache);
  EXPECT_EQ(cache.size(), 1u);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(tuned.run(cache), first);
  EXPECT_EQ(cache.size(), 1u);
}

TEST(Tuner, TakesTheFasterKernelOfTheCache) {
  const TemporaryFolder folder;
  Tuned tuned;
  TimingCache slow = with_times(folder.path() / "slow.json", {{50, 10}});
  EXPECT_EQ(tuned.run(slow).begin()->second, "gemm_batched");
  TimingCache fast = with_times(folder.path() / "fast.json", {{10, 50}});
  EXPECT_EQ(tuned.run(fast).begin()->second, "gemm");
  TimingCache close = with_times(folder.path() / "close.json", {{10.0, 9.9}});  // within the margin
  EXPECT_EQ(tuned.run(close).begin()->second, "gemm");
}

// Kernels that want the weight in different layouts cannot take turns. Relative to the faster one: 1 + 3 for gemm, 2 +
// 1 for the other, though gemm needs less time in all.
TEST(Tuner, ProfilesCountTheSame) {
  const TemporaryFolder folder;
  Tuned tuned;
  tuned.options.profiles = {rows(3), rows(4)};
  const std::vector<std::pair<double, double>> times = {{100, 200}, {3, 1}};
  TimingCache both = with_times(folder.path() / "both.json", times);
  EXPECT_EQ(both.size(), 2u);
  EXPECT_EQ(tuned.run(both).begin()->second, "gemm_batched");
  EXPECT_EQ(both.size(), 2u) << "nothing is measured that the cache knows";
  tuned.options.profiles = {rows(3)};
  EXPECT_EQ(tuned.run(both).begin()->second, "gemm");
  tuned.options.profiles = {rows(4)};
  EXPECT_EQ(tuned.run(both).begin()->second, "gemm_batched");
}

// Both read the weight as it is, so they may take turns.
TEST(Tuner, TakesTheFasterKernelOfEachSize) {
  const TemporaryFolder folder;
  Tuned tuned;
  tuned.model.backend.reset(new ScriptedBackend("scripted", {{"matmul", {"many", "few"}}}));
  tuned.options.profiles = {rows(1, 16, 256)};
  TimingCache cache;
  tuned.run(cache);
  EXPECT_EQ(cache.size(), 9u) << "1, 2, 4 .. 256 rows";
  cache.save(folder.path() / "cache.json");
  std::ifstream in(folder.path() / "cache.json");
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  for (size_t at = text.find("matmul#"); at != std::string::npos; at = text.find("matmul#", at + 1)) {
    const std::string key = text.substr(at, text.find('"', at) - at);
    const bool small = key.find("[1, ") != std::string::npos || key.find("[2, ") != std::string::npos ||
                       key.find("[4, ") != std::string::npos;
    cache.insert(key, "many", small ? 20 : 10);
    cache.insert(key, "few", small ? 10 : 20);
  }
  KernelChoice expected;
  expected.ranges = {{"few", 23}, {"many", kAnySize}};  // between the elements of 4 rows of 4, and those of 8
  const KernelChoices choices = tuned.run(cache);
  ASSERT_EQ(choices.size(), 1u);
  EXPECT_EQ(choices.begin()->second, expected) << to_string(choices.begin()->second);
  EXPECT_EQ(cache.size(), 9u);
}

// One request of any length, then more of them.
TEST(Tuner, RequestsGrowBeforeTheirNumber) {
  const TemporaryFolder folder;
  Tuned tuned("graph g(%x: f32[batch, length, 8]) { %y = softmax(%x) {axis = 2} return %y as \"y\" }");
  tuned.model.backend.reset(new ScriptedBackend("scripted", {{"softmax", {"many", "few"}}}));
  tuned.options.profiles = {{{"x", {{1, 2, 8}, {4, 8, 8}, {4, 8, 8}}}}};
  TimingCache cache;
  tuned.run(cache);
  cache.save(folder.path() / "cache.json");
  std::ifstream in(folder.path() / "cache.json");
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  for (const char* sizes : {"[1, 2, 8]", "[1, 4, 8]", "[1, 8, 8]", "[2, 8, 8]", "[4, 8, 8]"})
    EXPECT_NE(text.find(sizes), std::string::npos) << sizes << " in " << text;
  EXPECT_EQ(cache.size(), 5u);
}

// Lists of tokens are as long as the batch, or half as long, or as the next size above that.
TEST(Tuner, PackedTokensAreTimedByHalvesToo) {
  const TemporaryFolder folder;
  Tuned tuned(R"(graph g(%mask: i64[batch, length], %x: f32[n, 8]) {
    %tokens, %starts, %rows = pack_tokens(%mask)
    %picked = gather(%x, %tokens)
    %y = softmax(%picked) {axis = 1}
    return %y as "y"
  })");
  tuned.model.backend.reset(new ScriptedBackend("scripted", {{"softmax", {"many", "few"}}}));
  tuned.options.profiles = {{{"mask", {{4, 32}, {4, 32}, {4, 32}}}, {"x", {{128, 8}, {128, 8}, {128, 8}}}}};
  TimingCache cache;
  tuned.run(cache);
  cache.save(folder.path() / "cache.json");
  std::ifstream in(folder.path() / "cache.json");
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  for (const char* sizes : {"[128, 8]", "[64, 8]", "[72, 8]"})
    EXPECT_NE(text.find(sizes), std::string::npos) << sizes << " in " << text;
  EXPECT_EQ(cache.size(), 3u);
}

TEST(Tuner, TimesKernelsInRegions) {
  Tuned tuned(R"(graph g(%flag: bool[], %x: f32[batch, 8]) {
    %y = if(%flag, %x) {then_branch = graph (%a: f32[r, 8]) {
      %w = constant {value = f32[8, 4] random(1)}
      %y = matmul(%a, %w)
      return %y as "y"
    }, else_branch = graph (%a: f32[r, 8]) {
      %w = constant {value = f32[8, 4] random(2)}
      %y = matmul(%a, %w)
      return %y as "y"
    }}
    return %y as "y"
  })");
  TimingCache cache;
  const KernelChoices choices = tuned.run(cache);
  EXPECT_EQ(choices.size(), 2u);
  EXPECT_EQ(cache.size(), 1u) << "both products have the same sizes";
  const auto numbers = number_nodes(*tuned.model.graph);
  visit_steps(tuned.model.program, [&](const ProgramStep& step) {
    EXPECT_EQ(choices.contains(numbers.at(step.node)), step.node->is<MatMul>());
  });
}

TEST(Tuner, LeavesNodesOfUnknownSizeAlone) {
  Tuned tuned;
  tuned.options.profiles.clear();
  TimingCache cache;
  EXPECT_TRUE(tuned.run(cache).empty());
  EXPECT_EQ(cache.size(), 0u);
}

TEST(Tuner, RefusesProfilesThatDoNotFit) {
  Tuned tuned;
  TimingCache cache;
  tuned.options.profiles = {{{"z", {{1}, {1}, {1}}}}};
  EXPECT_THROW(tuned.run(cache), Error);
  tuned.options.profiles = {{{"x", {{1}, {1}, {1}}}}};
  EXPECT_THROW(tuned.run(cache), Error);
}

TEST(TimingCache, KeepsNotesBesideTimes) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "cache.json";
  TimingCache cache;
  EXPECT_FALSE(cache.changed());
  cache.insert("op", "gemm", 1.5);
  cache.insert_note("model", R"({"types":[1,2]})");
  EXPECT_TRUE(cache.changed());
  cache.save(path);
  const TimingCache loaded = TimingCache::load(path);
  EXPECT_FALSE(loaded.changed());
  ASSERT_NE(loaded.find_note("model"), nullptr);
  EXPECT_EQ(*loaded.find_note("model"), R"({"types":[1,2]})");
  EXPECT_EQ(loaded.find_note("op"), nullptr);
  EXPECT_EQ(loaded.find("op")->at("gemm"), 1.5);
}

TEST(TimingCache, RefusesOtherFiles) {
  const TemporaryFolder folder;
  for (const char* text : {"", "[1]", "{\"lathe_timing_cache\": 2, \"microseconds\": {}}",
                           "{\"lathe_timing_cache\": 1, \"microseconds\": {\"a\": {\"b\": \"c\"}}}"}) {
    const auto file = folder.path() / "cache.json";
    std::ofstream(file) << text;
    EXPECT_THROW(TimingCache::load(file), Error) << text;
  }
  EXPECT_EQ(TimingCache::load(folder.path() / "absent.json").size(), 0u);
}

}  // namespace
}  // namespace lathe
