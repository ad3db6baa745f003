// The table of trtexec's flags, and the words of the report.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "tools/trtexec_report.h"

namespace lathe::tools {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

TrtexecOptions parse(const std::vector<std::pair<std::string, std::string>>& flags) {
  TrtexecOptions options;
  for (const auto& [name, value] : flags) {
    const auto all = trtexec_flags();
    const auto found =
        std::find_if(all.begin(), all.end(), [&wanted = name](const TrtexecFlag& f) { return f.name == wanted; });
    if (found == all.end() || found->set == nullptr) ADD_FAILURE() << name;
    found->set(options, value);
  }
  return options;
}

TEST(TrtexecFlags, EachHasOneRowAndSaysSomething) {
  std::set<std::string_view> names;
  for (const TrtexecFlag& flag : trtexec_flags()) {
    EXPECT_TRUE(names.insert(flag.name).second) << flag.name;
    EXPECT_FALSE(flag.help.empty()) << flag.name;
    EXPECT_EQ(flag.set == nullptr, flag.group == "Accepted, without effect") << flag.name;
  }
}

TEST(TrtexecFlags, ProfilesFollowTheOrderOfFlags) {
  const TrtexecOptions options = parse({{"minShapes", "a:1x1,'b:0':scalar"},
                                        {"maxShapes", "a:4x8,b:0:scalar"},
                                        {"profile", "1"},
                                        {"optShapes", "a:2x2"}});
  const std::vector<ProfileArg> args = profile_args(options);
  ASSERT_EQ(args.size(), 3u);
  EXPECT_EQ(args[0].pattern, "a");
  EXPECT_THAT(args[0].range.min, ElementsAre(1, 1));
  EXPECT_THAT(args[0].range.opt, ElementsAre(4, 8)) << "the next larger kind";
  EXPECT_THAT(args[0].range.max, ElementsAre(4, 8));
  EXPECT_EQ(args[1].pattern, "b:0");
  EXPECT_TRUE(args[1].range.max.empty());
  EXPECT_EQ(args[2].index, 1u);
  EXPECT_THAT(args[2].range.min, ElementsAre(2, 2));
}

TEST(TrtexecFlags, ShapesMakeAProfileOnlyWhereThereIsNone) {
  EXPECT_THAT(profile_args(parse({{"shapes", "a:3"}})).at(0).range.opt, ElementsAre(3));
  EXPECT_THAT(profile_args(parse({{"shapes", "a:3"}, {"minShapes", "a:1"}})).at(0).range.max, ElementsAre(1));
  EXPECT_TRUE(profile_args({}).empty());
}

TEST(TrtexecFlags, WrongValuesAreRefused) {
  for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{{"iterations", "0"},
                                                                                    {"iterations", "1x"},
                                                                                    {"warmUp", "nan"},
                                                                                    {"duration", "-2"},
                                                                                    {"streams", ""},
                                                                                    {"percentile", "101"},
                                                                                    {"loadInputs", "a"},
                                                                                    {"profile", "64"},
                                                                                    {"shapes", "a"}})
    EXPECT_THROW(parse({{name, value}}), Error) << name << "=" << value;
  EXPECT_THROW(profile_args(parse({{"minShapes", "a:2"}, {"maxShapes", "a:1"}})), Error);
  EXPECT_GT(parse({{"duration", "-1"}}).seconds, 1e8);
}

// Runs that take 1, 2, .. 10 ms, a tenth of it for either copy.
Measurement ten_runs() {
  Measurement measured;
  double now = 0;
  for (int i = 1; i <= 10; ++i) {
    RunTrace run;
    run.enqueue_begin = run.upload_begin = now;
    run.enqueue_end = now + 0.05 * i;
    run.compute_begin = now + 0.1 * i;
    run.download_begin = now + 0.9 * i;
    run.download_end = now + i;
    now = run.download_end;
    measured.trace.push_back(run);
  }
  measured.seconds = now / 1000;
  measured.runs_per_second = 10 / measured.seconds;
  measured.warmup_runs = 7;
  return measured;
}

TEST(TrtexecReport, SummaryIsInTrtexecsForm) {
  TrtexecOptions options;
  options.average_runs = 5;
  const std::vector<std::string> lines = performance_lines(ten_runs(), options);
  EXPECT_THAT(lines, Contains("Warmup completed 7 queries over 200 ms"));
  EXPECT_THAT(lines, Contains("Timing trace has 10 queries over 0.055 s"));
  EXPECT_THAT(lines, Contains("Average on 5 runs - GPU latency: 2.4 ms - Host latency: 3 ms (enqueue 0.15 ms)"));
  EXPECT_THAT(lines, Contains("=== Performance summary ==="));
  EXPECT_THAT(lines, Contains("Throughput: 181.818 qps"));
  EXPECT_THAT(lines, Contains("Latency: min = 1 ms, max = 10 ms, mean = 5.5 ms, median = 5.5 ms, percentile(90%) = 9 "
                              "ms, percentile(95%) = 10 ms, percentile(99%) = 10 ms"));
  EXPECT_THAT(lines, Contains(HasSubstr("GPU Compute Time: min = 0.8 ms, max = 8 ms")));
  EXPECT_THAT(lines, Contains("Total Host Walltime: 0.055 s"));
  EXPECT_THAT(lines, Contains("Total GPU Compute Time: 0.044 s"));
}

TEST(TrtexecReport, PercentilesOfOneRun) {
  Measurement one = ten_runs();
  one.trace.resize(1);
  TrtexecOptions options;
  options.percentiles = {0, 50.5, 100};
  EXPECT_THAT(performance_lines(one, options),
              Contains(HasSubstr("percentile(0%) = 1 ms, percentile(50.5%) = 1 ms, percentile(100%) = 1 ms")));
}

TEST(TrtexecReport, WarnsOfWhatKeepsTheGpuWaiting) {
  EXPECT_THAT(performance_warnings(ten_runs()), ElementsAre(HasSubstr("not steady: its standard deviation is 52.2 %")));
  Measurement copying = ten_runs();
  copying.trace.resize(1);
  EXPECT_TRUE(performance_warnings(copying).empty());
  for (RunTrace& run : copying.trace) run.download_begin = run.compute_begin + 0.01;
  EXPECT_THAT(performance_warnings(copying), Contains(HasSubstr("--noDataTransfers")));
}

TEST(TrtexecReport, ProfileAddsUp) {
  const std::vector<LayerTimes> layers = {{"a", {1, 3, 2}}, {"b", {6, 6, 6}}};
  const nlohmann::json json = profile_json(layers);
  EXPECT_EQ(json[0]["count"], 3);
  EXPECT_EQ(json[1]["name"], "a");
  EXPECT_DOUBLE_EQ(json[1]["timeMs"].get<double>(), 6);
  EXPECT_DOUBLE_EQ(json[1]["medianMs"].get<double>(), 2);
  EXPECT_DOUBLE_EQ(json[2]["percentage"].get<double>(), 75);
  const std::vector<std::string> lines = profile_lines(layers);
  EXPECT_THAT(lines, Contains("=== Profile (3 iterations ) ==="));
  EXPECT_THAT(lines, Contains("       6.00       2.0000       2.0000      25.0   a"));
  EXPECT_THAT(lines, Contains("      24.00       8.0000       8.0000     100.0   Total"));
}

TEST(TrtexecReport, TimesAndTensorsAsJson) {
  const nlohmann::json first = times_json(ten_runs())[1];
  EXPECT_DOUBLE_EQ(first["startEnqMs"].get<double>(), 1);
  EXPECT_NEAR(first["computeMs"].get<double>(), 1.6, 1e-12);
  EXPECT_NEAR(first["latencyMs"].get<double>(), 2, 1e-12);
  Tensor tensor(DType::i32, {2, 2});
  tensor.write_int(3, 7);
  const Tensors tensors = {{"a/b", tensor}};
  EXPECT_EQ(tensors_json(tensors).dump(), R"([{"dimensions":"2x2","name":"a/b","values":[0,0,0,7]}])");
  EXPECT_THAT(tensor_lines(tensors), ElementsAre("a/b: (2x2)", "0 0", "0 7"));
  EXPECT_EQ(raw_file_name("a/b", "output", tensor), "a_b.output.2.2.Int32.raw");
}

}  // namespace
}  // namespace lathe::tools
