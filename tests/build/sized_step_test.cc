// SizedStep: the variant of a size is the one that is prepared, measured and run.
#include "build/sized_step.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/build/scripted_backend.h"

namespace lathe {
namespace {

// Writes down what is done with it.
class Scribe : public Step {
 public:
  Scribe(std::string name, std::string& log, bool recordable = true)
      : name_(std::move(name)), log_(log), recordable_(recordable) {}
  size_t workspace_bytes(const StepIo&) const override { return name_.size(); }
  std::unique_ptr<StepState> prepare(const StepIo&) const override {
    auto state = std::make_unique<State>();
    state->name = name_;
    return state;
  }
  void run(const StepIo&, const StepState* state, void*, DeviceContext&) const override {
    EXPECT_EQ(static_cast<const State*>(state)->name, name_);
    log_ += name_;
  }
  bool recordable() const override { return recordable_; }

 private:
  struct State : StepState {
    std::string name;
  };
  std::string name_;
  std::string& log_;
  bool recordable_;
};

std::vector<SizedStep::Variant> variants(std::string& log, bool last_recordable) {
  std::vector<SizedStep::Variant> result;
  result.push_back({std::make_unique<Scribe>("a", log), 4});
  result.push_back({std::make_unique<Scribe>("bb", log), 16});
  result.push_back({std::make_unique<Scribe>("ccc", log, last_recordable), INT64_MAX});
  return result;
}

TEST(SizedStep, ServesBySize) {
  std::string log;
  const SizedStep step(variants(log, true));
  HostMemory device;
  for (const auto& [size, name] :
       std::vector<std::pair<int64_t, std::string>>{{0, "a"}, {4, "a"}, {5, "bb"}, {16, "bb"}, {17, "ccc"}}) {
    const std::vector<int64_t> dims = {size};
    const TensorRef output = {nullptr, DType::f32, dims, true, nullptr};
    const StepIo io{{}, {&output, 1}};
    log.clear();
    step.run(io, step.prepare(io).get(), nullptr, device);
    EXPECT_EQ(log, name) << size;
    EXPECT_EQ(step.workspace_bytes(io), name.size()) << size;
  }
}

TEST(SizedStep, IsRecordableWhenAllAre) {
  std::string log;
  EXPECT_TRUE(SizedStep(variants(log, true)).recordable());
  EXPECT_FALSE(SizedStep(variants(log, false)).recordable());
}

}  // namespace
}  // namespace lathe
