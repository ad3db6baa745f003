// Sizes, memory and aliases of a run, seen through sessions: what an executor prepares per set of sizes, and what it
// must refuse.
#include "runtime/executor.h"

#include "tests/runtime/engine_of.h"

namespace lathe {
namespace {

using test::error_of;
using test::expect_close;
using test::floats;
using test::run;
using test::Sizes;

constexpr const char* kMlp = R"(graph mlp(%x: f32[n, 8]) {
  %w = constant {value = f32[8, 16] random(1)}
  %v = constant {value = f32[16, 4] random(2)}
  %h = matmul(%x, %w) {epilogue = (x0) => relu(x0)}
  %y = matmul(%h, %v)
  return %y as "y"
})";

TEST(Executor, AnySizeGivesTheReferenceResult) {
  Session session(test::engine_of(kMlp), {2});
  for (const int64_t n : {1, 7, 64, 0, 1, 33})
    expect_close(run(session, {floats({n, 8})}), test::reference(kMlp, {floats({n, 8})}));
}

TEST(Executor, MoreSizesThanItKeepsPrepared) {
  Session session(test::engine_of(kMlp), {1});
  for (int round = 0; round < 2; ++round)  // in the second round none of the first is kept any more
    for (int64_t n = 1; n <= 100; ++n)
      expect_close(run(session, {floats({n, 8}, static_cast<uint32_t>(n))}),
                   test::reference(kMlp, {floats({n, 8}, static_cast<uint32_t>(n))}));
}

TEST(Executor, FootprintCountsActivationsAndLateValues) {
  Session session(test::engine_of(kMlp, test::unoptimised()), {1});
  const Tensor x = floats({64, 8});
  const std::vector<TensorRef> inputs = {
      {const_cast<std::byte*>(x.bytes().data()), x.dtype(), x.dims(), true, nullptr}};
  const Executor::Footprint footprint = session.impl().executor->footprint(inputs);
  EXPECT_EQ(footprint.activation_bytes, 64u * 16 * sizeof(float));  // %h; %y is an output
  EXPECT_GE(footprint.arena_bytes, footprint.activation_bytes);
  EXPECT_EQ(footprint.late_values, 0u);
}

TEST(Executor, OutputsThatShareMemoryAreAllWritten) {
  const std::string text = R"(graph shared(%x: f32[n, 4]) {
    %c = constant {value = f32[3] [1, 2, 3]}
    %cr = reshape(%c) {shape = [3, 1]}
    %xr = reshape(%x) {shape = [4*n]}
    %y = map(%x) {program = (x0) => neg(x0)}
    %yr = reshape(%y) {shape = [2, 2*n]}
    return %x as "x", %x as "again", %xr as "xr", %c as "c", %cr as "cr", %yr as "yr", %y as "y", %y as "y2"
  })";
  for (const CompileOptions& options : {CompileOptions(), test::unoptimised(), test::on_device("reference")}) {
    Session session(test::engine_of(text, options), {1});
    for (const int64_t n : {3, 1, 0}) {
      const Tensor x = floats({n, 4});
      const auto inputs = test::inputs_of(session.engine(), {x});
      const std::span<const Output> outputs = session.run(inputs);
      std::vector<Tensor> actual;
      for (size_t i = 0; i < outputs.size(); ++i) {
        actual.push_back(test::tensor_of(outputs[i]));
        if (n == 0) continue;
        EXPECT_NE(outputs[i].data, x.bytes().data());
        for (size_t j = 0; j < i; ++j)  // a caller may write to one without touching another
          EXPECT_NE(outputs[i].data, outputs[j].data) << i << " and " << j;
      }
      expect_close(actual, test::reference(text, {x}), 0);
    }
  }
}

TEST(Executor, ZeroSizedTensors) {
  const std::string text = R"(graph empty(%x: f32[n, 4], %y: f32[m, 4]) {
    %w = constant {value = f32[4, 4] random(1)}
    %none = constant {value = f32[0, 4] []}
    %p = matmul(%x, %w)
    %c = concat(%p, %none, %y) {axis = 0}
    %s = reduce(%c) {kind = sum, axes = [0], keep_dims = false}
    return %c as "c", %s as "s", %none as "none"
  })";
  Session session(test::engine_of(text), {2});
  for (const Sizes& sizes : {Sizes{0, 0}, Sizes{0, 3}, Sizes{5, 0}})
    expect_close(run(session, {floats({sizes[0], 4}), floats({sizes[1], 4})}),
                 test::reference(text, {floats({sizes[0], 4}), floats({sizes[1], 4})}));
}

TEST(Executor, AReshapeThatDoesNotFitIsRefused) {
  const std::string text = R"(graph view(%x: f32[n]) {
    %y = reshape(%x) {shape = [2, 3]}
    %z = map(%y) {program = (x0) => neg(x0)}
    return %z as "z"
  })";
  for (const char* device : {"cpu", "reference"}) {
    Session session(test::engine_of(text, test::on_device(device)), {1});
    EXPECT_EQ(run(session, {floats({6})}).at(0).dims(), (Sizes{2, 3}));
    for (const int64_t n : {0, 5, 7}) {
      const Error error = error_of([&] { run(session, {floats({n})}); });
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << error.what();
    }
    EXPECT_EQ(run(session, {floats({6})}).at(0).dims(), (Sizes{2, 3})) << "a failed run leaves the session usable";
  }
}

TEST(Executor, SizesThatTheModelRelatesAreChecked) {
  const std::string text = R"(graph related(%x: f32[n, m], %y: f32[m, 2*n + 1]) {
    %z = matmul(%x, %y)
    return %z as "z"
  })";
  Session session(test::engine_of(text), {1});
  EXPECT_EQ(run(session, {floats({2, 3}), floats({3, 5})}).at(0).dims(), (Sizes{2, 5}));
  for (const Sizes& y : {Sizes{4, 5}, Sizes{3, 6}}) {
    const Error error = error_of([&] { run(session, {floats({2, 3}), floats(y)}); });
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_NE(error.message().find("'y'"), std::string::npos) << error.what();
  }
}

TEST(Executor, ASizeThatWouldBecomeNegativeIsRefused) {
  const std::string text = R"(graph negative(%x: f32[n]) {
    %y = slice(%x) {axes = [0], starts = [4], sizes = [n - 4], steps = [1]}
    return %y as "y"
  })";
  Session session(test::engine_of(text), {1});
  EXPECT_EQ(run(session, {floats({4})}).at(0).dims(), (Sizes{0}));
  const Error error = error_of([&] { run(session, {floats({3})}); });
  EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << error.what();
}

// The rank of an input may be open; runs with equal sizes one after the other but other ranks are not the same run.
TEST(Executor, InputsOfUnknownRank) {
  const std::string text = R"(graph unranked(%x: f32[*], %y: f32[*]) {
    %a = map(%x) {program = (x0) => neg(x0)}
    %b = map(%y) {program = (x0) => abs(x0)}
    return %a as "a", %b as "b", %x as "x"
  })";
  Session session(test::engine_of(text), {1});
  const std::vector<std::pair<Sizes, Sizes>> ranks = {{{2, 3}, {4}}, {{2}, {3, 4}}, {{}, {2, 3, 4}}, {{2, 3, 4}, {}}};
  for (int round = 0; round < 2; ++round)
    for (const auto& [a, b] : ranks)
      expect_close(run(session, {floats(a), floats(b)}), test::reference(text, {floats(a), floats(b)}), 0);
}

TEST(Executor, ObserverSeesEveryStep) {
  struct Count : StepObserver {
    void before(size_t step) override { EXPECT_EQ(step, seen); }
    void after(size_t, const StepIo& io) override {
      ++seen;
      EXPECT_EQ(io.outputs.size(), 1u);
      EXPECT_NE(io.outputs[0].data, nullptr);
    }
    size_t seen = 0;
  } count;
  Session session(test::engine_of(kMlp), {1});
  session.impl().observer = &count;
  run(session, {floats({2, 8})});
  EXPECT_EQ(count.seen, session.engine().impl().model.program.steps.size());
}

}  // namespace
}  // namespace lathe
