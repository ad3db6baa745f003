// Runs that are recorded and replayed, on a device that only counts: CUDA graphs without a GPU.
#include <gtest/gtest.h>

#include <cstdlib>

#include "runtime/executor.h"
#include "tests/runtime/engine_of.h"

namespace lathe {
namespace {

constexpr size_t kMostRecordings = 256;

struct Counts {
  size_t recorded = 0, replayed = 0, alive = 0;
};

class CountedRecording : public Recording {
 public:
  explicit CountedRecording(Counts& counts) : counts_(counts) { ++counts_.alive; }
  ~CountedRecording() override { --counts_.alive; }

 private:
  Counts& counts_;
};

class RecordingContext : public DeviceContext {
 public:
  explicit RecordingContext(Counts& counts) : counts_(counts) {}
  void* allocate(size_t bytes) override { return std::aligned_alloc(64, (bytes + 63) / 64 * 64); }
  void release(void* memory) noexcept override { std::free(memory); }
  void upload(void* device, std::span<const std::byte> host) override {
    std::copy(host.begin(), host.end(), static_cast<std::byte*>(device));
  }
  void download(std::span<std::byte> host, const void* device) override {
    std::copy_n(static_cast<const std::byte*>(device), host.size(), host.data());
  }
  void copy(void* destination, const void* source, size_t bytes) override {
    std::copy_n(static_cast<const std::byte*>(source), bytes, static_cast<std::byte*>(destination));
  }
  bool host_memory() const override { return true; }
  bool can_record() const override { return true; }
  std::unique_ptr<Recording> end_recording() override {
    ++counts_.recorded;
    return std::make_unique<CountedRecording>(counts_);
  }
  void replay(Recording&) override { ++counts_.replayed; }

 private:
  Counts& counts_;
};

class RecordingTest : public testing::Test {
 protected:
  RecordingTest()
      : engine_(
            test::engine_of("graph (%x: f32[n]) {\n  %y = map(%x) {program = (x0) => neg(x0)}\n  return %y as \"y\"\n}",
                            test::on_device("reference"))),
        device_(counts_),
        executor_(*engine_->impl().model.graph, engine_->impl().model.program, engine_->impl().weights.addresses(),
                  device_) {}

  void run(int64_t n, float* input) {
    TensorRef x{input, DType::f32, {&n, 1}, true, nullptr}, y;
    executor_.run({&x, 1}, {&y, 1});
  }

  Counts counts_;
  std::shared_ptr<const Engine> engine_;
  RecordingContext device_;
  Executor executor_;
  std::vector<float> a_ = std::vector<float>(1000), b_ = std::vector<float>(1000);
};

TEST_F(RecordingTest, ARunAtTheSameAddressesIsRecordedOnceAndReplayed) {
  run(4, a_.data());
  EXPECT_EQ(counts_.recorded, 0u);
  for (int i = 0; i < 3; ++i) run(4, a_.data());
  EXPECT_EQ(counts_.recorded, 1u);
  EXPECT_EQ(counts_.replayed, 3u);
}

TEST_F(RecordingTest, OtherAddressesMakeARecordingWorthless) {
  for (int i = 0; i < 2; ++i) run(4, a_.data());
  run(4, b_.data());
  EXPECT_EQ(counts_.alive, 0u);
  EXPECT_EQ(counts_.replayed, 1u);
  run(4, b_.data());
  EXPECT_EQ(counts_.recorded, 2u);
}

TEST_F(RecordingTest, RecordingsAreBounded) {
  run(1000, a_.data());  // memory grows to the largest first: addresses stay
  for (int64_t n = 1; n <= 300; ++n)
    for (int i = 0; i < 2; ++i) run(n, a_.data());
  EXPECT_EQ(counts_.recorded, 300u);
  EXPECT_EQ(counts_.alive, kMostRecordings);
  const size_t replayed = counts_.replayed;
  run(300, a_.data());
  EXPECT_EQ(counts_.recorded, 300u) << "the sizes used last are still there";
  EXPECT_EQ(counts_.replayed, replayed + 1);
  run(1, a_.data());
  EXPECT_EQ(counts_.recorded, 300u) << "those used longest ago are gone, and a first run records nothing";
}

}  // namespace
}  // namespace lathe
