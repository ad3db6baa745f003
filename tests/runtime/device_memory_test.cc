// Sessions on a device with memory of its own: tensors of the caller there, eviction, too little memory, times.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/island.h"

namespace lathe {
namespace {

using test::floats;
using test::Sizes;

constexpr const char* kModel = R"(graph (%x: f32[n, 8]) {
  %w = constant {value = f32[8, 4] random(3)}
  %h = matmul(%x, %w)
  %y = map(%h) {program = (x0) => neg(x0)}
  return %y as "y", %h as "h"
})";

class DeviceMemory : public testing::Test {
 protected:
  std::shared_ptr<const Engine> open() { return make_engine(test::compile_on_island(kModel, memory_)); }

  test::IslandMemory memory_;
  const Tensor x_ = floats({5, 8});
  const std::vector<Tensor> expected_ = test::reference(kModel, {x_});
};

TEST_F(DeviceMemory, TensorsOfTheCallerAreNotCopied) {
  Session session(open());
  test::IslandContext device(memory_);
  void* x = device.allocate(x_.bytes().size());
  void* y = device.allocate(expected_[0].bytes().size());
  device.upload(x, x_.bytes());
  session.bind_output("y", y, expected_[0].bytes().size(), Memory::device);
  const size_t uploads = memory_.uploads;
  const auto outputs = session.run({Input("x", DType::f32, x_.dims(), x, Memory::device)});
  EXPECT_EQ(memory_.uploads, uploads);
  EXPECT_EQ(memory_.downloads, 1u) << "of h, which is not bound";
  EXPECT_EQ(outputs[0].data, y);
  EXPECT_EQ(outputs[0].memory, Memory::device);
  EXPECT_THROW(outputs[0].as<float>(), Error);
  EXPECT_EQ(outputs[1].memory, Memory::host);
  EXPECT_FALSE(memory_.holds(outputs[1].data));
  Tensor read(DType::f32, expected_[0].dims());
  device.download(read.mutable_bytes(), y);
  test::expect_close({read, test::tensor_of(outputs[1])}, expected_);
  session.bind_output("y", nullptr, 0);
  test::expect_close(test::run(session, {x_}), expected_);
  device.release(x);
  device.release(y);
}

// Sizes that follow from elements: of inputs with the host nothing has to come back from the device.
TEST_F(DeviceMemory, TokensAreCountedWhereTheMaskIs) {
  constexpr const char* kPacked = R"(graph (%x: f32[b, s], %mask: i64[b, s]) {
    %tokens, %starts, %rows = pack_tokens(%mask) : i32[t], i32[b + 2], i32[b, s]
    %list = reshape(%x) {shape = [b*s]}
    %y = gather(%list, %tokens) {axis = 0}
    return %y as "y"
  })";
  Session session(make_engine(test::compile_on_island(kPacked, memory_)));
  test::IslandContext device(memory_);
  const Tensor x = floats({2, 30});
  for (const int64_t length : {30, 7, 20}) {
    Tensor mask(DType::i64, {2, 30});
    for (int64_t i = 0; i < 60; ++i) mask.write_int(i, i % 30 < length ? 1 : 0);
    std::vector<float> bound(60);
    session.bind_output("y", bound.data(), 240);
    memory_.downloads = 0;
    test::expect_close(test::run(session, {x, mask}), test::reference(kPacked, {x, mask}));
    EXPECT_EQ(memory_.downloads, 1u) << "of y";
    void* on_device = device.allocate(480);
    device.upload(on_device, mask.bytes());
    const auto outputs = session.run({Input("x", DType::f32, {2, 30}, x.bytes().data()),
                                      Input("mask", DType::i64, {2, 30}, on_device, Memory::device)});
    EXPECT_EQ(memory_.downloads, 3u) << "of y again, and the mask";
    test::expect_close({test::tensor_of(outputs[0])}, test::reference(kPacked, {x, mask}));
    device.release(on_device);
  }
}

TEST_F(DeviceMemory, BoundMemoryOfTheHostIsFilledByACopy) {
  Session session(open());
  std::vector<float> y(20);
  session.bind_output("y", y.data(), y.size() * sizeof(float));
  test::expect_close(test::run(session, {x_}), expected_);
  EXPECT_EQ(y[7], expected_[0].as<float>()[7]);
  session.bind_output("y", y.data(), 8, Memory::device);
  EXPECT_EQ(test::error_of([&] { test::run(session, {x_}); }).code(), ErrorCode::invalid_argument);
}

TEST_F(DeviceMemory, EvictionGivesEverythingBackAndARunBringsItBack) {
  const auto engine = open();
  Session first(engine), second(engine);
  test::expect_close(test::run(first, {x_}), expected_);
  const size_t both = memory_.bytes();
  first.evict();
  EXPECT_LT(memory_.bytes(), both);
  test::expect_close(test::run(second, {x_}), expected_);  // the weights stay for it
  second.evict();
  second.evict();
  EXPECT_EQ(memory_.bytes(), 0u);
  first.restore();
  EXPECT_GT(memory_.bytes(), 0u);
  test::expect_close(test::run(first, {x_}), expected_);
  test::expect_close(test::run(second, {x_}), expected_);
}

TEST_F(DeviceMemory, ASessionThatGoesLeavesTheWeightsToTheOthers) {
  const auto engine = open();
  { const Session gone(engine); }
  EXPECT_GT(memory_.bytes(), 0u) << "a session that ends is no eviction";
  Session session(engine);
  test::expect_close(test::run(session, {x_}), expected_);
}

TEST_F(DeviceMemory, TooLittleMemoryNamesTheSizesAndLeavesTheSessionUsable) {
  Session session(open());
  test::run(session, {x_});
  memory_.limit = memory_.bytes() + 1000;
  const Error error = test::error_of([&] { test::run(session, {floats({1000, 8})}); });
  EXPECT_EQ(error.code(), ErrorCode::out_of_memory);
  EXPECT_THAT(error.what(), testing::HasSubstr("x f32[1000, 8]"));
  test::expect_close(test::run(session, {x_}), expected_);
}

TEST_F(DeviceMemory, AReservationThatDoesNotFitLeavesTheSessionUsable) {
  Session session(open());
  memory_.limit = memory_.bytes() + 10000;
  const Sizes huge = {1000, 8};
  const TensorRef x{nullptr, DType::f32, huge, true, nullptr};
  EXPECT_EQ(test::error_of([&] { session.impl().executor->reserve({&x, 1}); }).code(), ErrorCode::out_of_memory);
  test::expect_close(test::run(session, {x_}), expected_);
}

// Nine layers of 4 KB and one small table that two of them read.
std::string layers() {
  std::string text = "graph (%x: f32[n, 32]) {\n  %shared = constant {value = f32[32] random(50)}\n";
  std::string in = "%x";
  for (int i = 0; i < 9; ++i) {
    text += fmt::format("  %w{} = constant {{value = f32[32, 32] random({})}}\n  %h{} = matmul({}, %w{})\n", i, i + 1,
                        i, in, i);
    in = fmt::format("%h{}", i);
    if (i == 2 || i == 7) {
      text += fmt::format("  %s{} = map({}, %shared) {{program = (x0, x1) => add(x0, x1)}}\n", i, in);
      in = fmt::format("%s{}", i);
    }
  }
  return text + fmt::format("  return {} as \"y\"\n}}", in);
}

TEST_F(DeviceMemory, WeightsThatDoNotFitComeThroughARing) {
  const Tensor x = floats({3, 32});
  const std::vector<Tensor> expected = test::reference(layers(), {x});
  for (const size_t budget : {13000, 17000, 25000, 34000})
    for (const bool late : {false, true})
      for (const size_t pinned : {size_t{0}, size_t{9000}, SIZE_MAX}) {
        test::IslandMemory memory;
        memory.late_copies = late;
        memory.pinned_limit = pinned;
        const auto engine = make_engine(test::compile_on_island(layers(), memory), {.budget = budget});
        ASSERT_TRUE(engine->impl().weights.streams());
        EXPECT_LE(memory.bytes() + engine->impl().weights.ring_bytes(), budget);
        Session first(engine), second(engine);
        for (int run = 0; run < 3; ++run) {
          test::expect_close(test::run(first, {x}), expected);
          test::expect_close(test::run(second, {x}), expected);
        }
        EXPECT_THROW(test::run(first, {floats({3, 31})}), Error);
        test::expect_close(test::run(first, {x}), expected);
        first.evict();
        second.evict();
        EXPECT_EQ(memory.bytes(), 0u);
        test::expect_close(test::run(second, {x}), expected);
      }
}

// Of three layers that do not stay, two take turns in one place; the other has its own.
TEST_F(DeviceMemory, WhatFitsStays) {
  const Tensor x = floats({3, 32});
  const auto engine =
      make_engine(test::compile_on_island(layers(), memory_), {.budget = 33100});  // six layers, two places, the table
  Session session(engine);
  EXPECT_EQ(memory_.streamed, 2u);
  for (size_t run = 1; run <= 3; ++run) {
    test::run(session, {x});
    EXPECT_EQ(memory_.streamed, 2u + 2 * run);
  }
}

TEST_F(DeviceMemory, ABudgetThatIsTooSmallSaysWhatWouldDo) {
  const Error error =
      test::error_of([&] { make_engine(test::compile_on_island(layers(), memory_), {.budget = 5000}); });
  EXPECT_EQ(error.code(), ErrorCode::out_of_memory);
  EXPECT_THAT(error.what(), testing::HasSubstr("two places"));
  EXPECT_EQ(memory_.bytes(), 0u);
  EXPECT_FALSE(make_engine(test::compile_on_island(layers(), memory_), {.budget = 40000})->impl().weights.streams());
}

TEST_F(DeviceMemory, AnEngineThatDoesNotFitLeavesNothingBehind) {
  memory_.limit = 100;
  EXPECT_EQ(test::error_of([&] { open(); }).code(), ErrorCode::out_of_memory);
  EXPECT_EQ(memory_.bytes(), 0u);
}

TEST_F(DeviceMemory, TimesOfRunsAreInOrder) {
  Session session(open());
  RunTimer timer;
  timer.clock = session.impl().device->make_clock(RunTimer::kMarks);
  session.impl().timer = &timer;
  for (int i = 0; i < 2; ++i) {
    test::run(session, {x_});
    EXPECT_LE(timer.begun, timer.enqueued);
    EXPECT_GT(timer.clock->milliseconds(RunTimer::uploaded, RunTimer::computed), 0);
    EXPECT_GE(timer.clock->milliseconds(RunTimer::start, RunTimer::downloaded),
              timer.clock->milliseconds(RunTimer::uploaded, RunTimer::computed));
  }
  session.impl().timer = nullptr;
}

}  // namespace
}  // namespace lathe
