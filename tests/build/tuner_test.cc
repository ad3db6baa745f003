// Which kernel the tuner takes from given times, and what it measures when there are none.
#include "build/tuner.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "graph/text.h"
#include "tests/base/temporary_folder.h"

namespace lathe {
namespace {

// One product with a constant right-hand side: two kernels can do it.
constexpr std::string_view kModel =
    "graph g(%x: f32[batch, 8]) { %w = constant {value = f32[8, 4] random(1)} %y = matmul(%x, %w) return %y as \"y\" }";

struct Tuned {
  std::unique_ptr<Graph> graph = parse_graph(kModel);
  std::unique_ptr<Backend> backend = make_backend("cpu", Isa::generic);
  TuneOptions options{1, {{"x", {{1, 8}, {3, 8}, {9, 8}}}}, {}};

  KernelChoices run(TimingCache& cache) { return tune(*graph, *backend, options, cache); }
};

// The cache after measuring, with the times of its one entry replaced.
TimingCache with_times(const std::filesystem::path& file, double gemm, double batched) {
  Tuned tuned;
  TimingCache measured;
  tuned.run(measured);
  measured.save(file);
  std::ifstream in(file);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  const auto set = [&](const std::string& kernel, double time) {
    const size_t begin = text.find("\"" + kernel + "\": ") + kernel.size() + 4;
    text.replace(begin, text.find_first_of(",\n}", begin) - begin, std::to_string(time));
  };
  set("gemm", gemm);
  set("gemm_batched", batched);
  std::ofstream(file) << text;
  return TimingCache::load(file);
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
  TimingCache slow = with_times(folder.path() / "slow.json", 50, 10);
  EXPECT_EQ(tuned.run(slow).begin()->second, "gemm_batched");
  TimingCache fast = with_times(folder.path() / "fast.json", 10, 50);
  EXPECT_EQ(tuned.run(fast).begin()->second, "gemm");
  TimingCache close = with_times(folder.path() / "close.json", 10.0, 9.9);  // within the margin
  EXPECT_EQ(tuned.run(close).begin()->second, "gemm");
}

TEST(Tuner, LeavesNodesOfUnknownSizeAlone) {
  Tuned tuned;
  tuned.options.profile.clear();
  TimingCache cache;
  EXPECT_TRUE(tuned.run(cache).empty());
  EXPECT_EQ(cache.size(), 0u);
}

TEST(Tuner, RefusesProfilesThatDoNotFit) {
  Tuned tuned;
  TimingCache cache;
  tuned.options.profile = {{"z", {{1}, {1}, {1}}}};
  EXPECT_THROW(tuned.run(cache), Error);
  tuned.options.profile = {{"x", {{1}, {1}, {1}}}};
  EXPECT_THROW(tuned.run(cache), Error);
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
