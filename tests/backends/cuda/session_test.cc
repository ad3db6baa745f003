// Sessions, plans and failures on a real GPU; skipped where there is none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/cuda/gpu_peak.h"
#include "backends/cuda/survey.h"
#include "base/error.h"
#include "build/plan_writer.h"
#include "tests/base/temporary_folder.h"
#include "tests/runtime/engine_of.h"

namespace lathe {
namespace {

using test::floats;

constexpr const char* kModel = R"(graph (%x: f32[n, 64]) {
  %w = constant {value = f32[64, 32] random(3)}
  %h = matmul(%x, %w)
  %y = map(%h) {program = (x0) => tanh(x0)}
  return %y as "y"
})";

class CudaSession : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = cuda::why_unusable(0); !why.empty()) GTEST_SKIP() << why;
  }
  static CompileOptions on_gpu() { return test::on_device("cuda"); }

  const Tensor x_ = floats({5, 64});
  const std::vector<Tensor> expected_ = test::reference(kModel, {x_});
};

TEST_F(CudaSession, PlansCarryTheirKernels) {
  const TemporaryFolder folder;
  const CompiledModel model = compile(parse_graph(kModel), on_gpu());
  EXPECT_FALSE(model.backend->compiled_code().empty());
  write_plan(folder / "a.plan", model, {"model.onnx", {}, 0, {}});
  const auto engine = open_engine(folder / "a.plan", on_gpu());
  EXPECT_EQ(engine->impl().model.backend->compiled_code(), model.backend->compiled_code());
  Session session(engine);
  test::expect_close(test::run(session, {x_}), expected_, 1e-4);
  Session on_cpu(open_engine(folder / "a.plan", {}));
  test::expect_close(test::run(on_cpu, {x_}), expected_);
}

TEST_F(CudaSession, TensorsOnTheGpuAreUsedInPlace) {
  Session session(test::engine_of(kModel, on_gpu()));
  DeviceContext& device = *session.impl().device;
  const size_t bytes = expected_[0].bytes().size();
  void *x = device.allocate(x_.bytes().size()), *y = device.allocate(bytes);
  device.upload(x, x_.bytes());
  device.synchronize();
  session.bind_output("y", y, bytes, Memory::device);
  for (int i = 0; i < 3; ++i) {
    const auto outputs = session.run({Input("x", DType::f32, x_.dims(), x, Memory::device)});
    EXPECT_EQ(outputs[0].data, y);
    Tensor read(DType::f32, expected_[0].dims());
    device.download(read.mutable_bytes(), y);
    test::expect_close({read}, expected_, 1e-4);
  }
  device.release(x);
  device.release(y);
}

// One head of one feature; queries of 0 make y the mean of the values so far. Lengths change from run to run while
// addresses stay, so from the third run on a recording is replayed; after 256 tokens the keys are split.
TEST_F(CudaSession, RecordedStepsSeeTheLengthsOfEachRun) {
  Session session(test::engine_of(R"(graph (%v: f32[t, 1], %keys: f32[n, 1, 16, 1], %values: f32[n, 1, 16, 1],
                                            %starts: i32[s + 1], %contexts: i32[s], %table: i32[s, b]) {
    %q = map(%v) {program = (x0) => mul(x0, 0:f32)}
    %y = paged_attention(%q, %q, %v, %keys, %values, %starts, %contexts, %table) {head_dim = 1, value_dim = 1, block_size = 16}
    return %y as "y"
  })",
                                  on_gpu()));
  DeviceContext& device = *session.impl().device;
  constexpr int32_t kBlocks = 20, kTokens = 300;
  const test::Sizes cache = {kBlocks, 1, 16, 1};
  void *keys = device.allocate(kBlocks * 16 * sizeof(float)), *values = device.allocate(kBlocks * 16 * sizeof(float));
  std::vector<int32_t> table;
  for (int32_t i = 0; i < kBlocks; ++i) table.push_back(i * 7 % kBlocks);
  for (int32_t t = 0; t < kTokens; ++t) {
    const std::vector<float> v = {static_cast<float>(t)};
    const std::vector<int32_t> starts = {0, 1}, contexts = {t + 1};
    const auto outputs =
        session.run({Input("v", v, {1, 1}), Input("keys", DType::f32, cache, keys, Memory::device),
                     Input("values", DType::f32, cache, values, Memory::device), Input("starts", starts, {2}),
                     Input("contexts", contexts, {1}), Input("table", table, {1, kBlocks})});
    ASSERT_NEAR(outputs[0].as<float>()[0], 0.5f * static_cast<float>(t), 1e-3) << "token " << t;
  }
  device.release(keys);
  device.release(values);
}

TEST_F(CudaSession, EvictedAndRestored) {
  const auto engine = test::engine_of(kModel, on_gpu());
  Session session(engine);
  for (int i = 0; i < 3; ++i) test::expect_close(test::run(session, {x_}), expected_, 1e-4);
  for (int round = 0; round < 2; ++round) {
    session.evict();
    EXPECT_EQ(engine->impl().weights.owned_bytes(), 0u);
    for (int i = 0; i < 3; ++i) test::expect_close(test::run(session, {x_}), expected_, 1e-4);
  }
}

TEST_F(CudaSession, TooLittleMemoryLeavesTheSessionUsable) {
  Session session(
      test::engine_of("graph (%x: f32[n, 1]) {\n  %y = map(%x) {program = (x0) => tanh(x0), shape = [n, "
                      "1000000]}\n  return %y as \"y\"\n}",
                      on_gpu()));
  const Tensor small = floats({1, 1});
  const std::vector<Tensor> expected = test::run(session, {small});
  const Error error = test::error_of([&] { test::run(session, {floats({1000000, 1})}); });
  EXPECT_EQ(error.code(), ErrorCode::out_of_memory);
  EXPECT_THAT(error.what(), testing::HasSubstr("x f32[1000000, 1]"));
  EXPECT_THAT(error.what(), testing::HasSubstr("MB of them free"));
  EXPECT_EQ(test::run(session, {small}), expected);
}

TEST_F(CudaSession, WithoutGraphsTheResultsAreTheSame) {
  const auto engine = test::engine_of(kModel, on_gpu());
  Session with(engine), without(engine, {.threads = 0, .graphs = false});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(test::run(with, {x_}), test::run(without, {x_}));
}

TEST_F(CudaSession, PeaksAreMeasured) {
  const cuda::GpuPeak peak = cuda::measure_gpu_peak(0);
  EXPECT_GT(peak.gbytes_per_second, 100);
  if (peak.matrix.front().problem.empty()) {
    EXPECT_GT(peak.tflops(DType::f16), peak.tflops(DType::f32));
  }
}

}  // namespace
}  // namespace lathe
