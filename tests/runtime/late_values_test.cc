// Values whose sizes only the run shows: positions of non-zeros, values read into symbols, sequences.
#include "tests/runtime/engine_of.h"

namespace lathe {
namespace {

using test::error_of;
using test::expect_reference;
using test::run;
using test::Sizes;

Tensor f(Sizes dims, std::initializer_list<float> values) { return Tensor::of<float>(std::move(dims), values); }
Tensor i(Sizes dims, std::initializer_list<int64_t> values) { return Tensor::of<int64_t>(std::move(dims), values); }

constexpr const char* kPositions = R"(graph positions(%x: f32[n]) {
  %at = non_zero(%x) : i64[1, u0]
  %row = reshape(%at) {shape = [u0]}
  %y = gather(%x, %row) {axis = 0}
  %z = map(%y) {program = (x0) => mul(x0, 2:f32)}
  return %z as "z", %at as "at", %y as "y"
})";

TEST(LateValues, PositionsFeedKernels) {
  expect_reference(kPositions, {{f({5}, {0, 1, 0, 3, -2})},
                                {f({5}, {1, 2, 3, 4, 5})},  // as many as never before: buffers grow
                                {f({5}, {0, 0, 0, 0, 0})},  // none
                                {f({0}, {})},
                                {f({5}, {0, 0, 0, 0, 7})}});
}

// Sequences of a padded batch attend to themselves alone; the sum of the tokens at the end reads all of them.
std::string packed_graph(const std::string& mask) {
  return R"(graph packed(%x: f32[b, s, 4], %bits: i64[b, s]) {
    )" + mask +
         R"(
    %tokens, %starts, %rows = pack_tokens(%mask) : i32[t], i32[b + 2], i32[b, s]
    %list = reshape(%x) {shape = [b*s, 4]}
    %some = gather(%list, %tokens) {axis = 0}
    %p = reshape(%some) {shape = [1, t, 4]}
    %y = attention(%p, %p, %p, %starts) {heads = 1, kv_heads = 1, head_dim = 4, value_dim = 4, packed = true, longest = s}
    %z = map(%y) {program = (x0) => mul(x0, 2:f32)}
    return %z as "z", %starts as "starts", %rows as "rows"
  })";
}

TEST(LateValues, TokensOfAnInputAreCountedBeforeTheRun) {
  const Tensor x = test::floats({3, 4, 4});
  const std::vector<std::vector<Tensor>> runs = {{x, i({3, 4}, {1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1})},
                                                 {x, i({3, 4}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1})},
                                                 {x, i({3, 4}, {0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0})},
                                                 {test::floats({0, 4, 4}), i({0, 4}, {})}};
  expect_reference(packed_graph("%mask = map(%bits) {program = (x0) => sub(1:i64, x0)}"), runs);
  std::string direct = packed_graph("");
  direct.replace(direct.find("%bits"), 5, "%mask");
  expect_reference(direct, runs);
  Session session(test::engine_of(direct), {1});
  const std::vector<int64_t> x_dims = {3, 4, 4}, mask_dims = {3, 4};
  const TensorRef inputs[] = {{nullptr, DType::f32, x_dims, true, nullptr},
                              {nullptr, DType::i64, mask_dims, true, nullptr}};
  EXPECT_EQ(session.impl().executor->footprint(inputs).late_values, 0u);
}

TEST(LateValues, AViewMustFitWhatCame) {
  const std::string text = R"(graph view(%x: f32[n]) {
    %at = non_zero(%x) : i64[1, u0]
    %row = reshape(%at) {shape = [3]}
    %y = gather(%x, %row) {axis = 0}
    return %y as "y", %row as "row"
  })";
  for (const CompileOptions& options : {CompileOptions(), test::on_device("reference")}) {
    Session session(test::engine_of(text, options), {1});
    EXPECT_EQ(run(session, {f({4}, {1, 0, 2, 3})}).at(1), i({3}, {0, 2, 3}));
    const Error error = error_of([&] { run(session, {f({4}, {1, 0, 2, 0})}); });
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << error.what();
    EXPECT_EQ(run(session, {f({4}, {1, 2, 3, 0})}).at(1), i({3}, {0, 1, 2}));
  }
}

TEST(LateValues, SymbolsReadFromATensor) {
  const std::string text = R"(graph bound(%x: f32[n, 2], %k: i64[2]) {
    bind(%k) {symbols = ["$0", "$1"]}
    %y = slice(%x) {axes = [0], starts = [$0], sizes = [$1], steps = [1]}
    %z = map(%y) {program = (x0) => add(x0, 1:f32)}
    %count = dims {values = [$1, n]}
    return %z as "z", %count as "count"
  })";
  const Tensor x = test::floats({6, 2});
  expect_reference(text, {{x, i({2}, {0, 6})}, {x, i({2}, {2, 3})}, {x, i({2}, {5, 0})}, {x, i({2}, {2, 3})}});
}

// All sizes are known beforehand, but the op reads a symbol that is not.
TEST(LateValues, KnownSizesAtABoundPosition) {
  const std::string text = R"(graph window(%x: f32[n], %k: i64[1]) {
    bind(%k) {symbols = ["$0"]}
    %y = slice(%x) {axes = [0], starts = [$0], sizes = [2], steps = [1]}
    %z = map(%y) {program = (x0) => mul(x0, cast<f32>(dim($0)))}
    return %z as "z"
  })";
  const Tensor x = f({5}, {1, 2, 3, 4, 5});
  expect_reference(text, {{x, i({1}, {0})}, {x, i({1}, {3})}, {x, i({1}, {1})}});
}

TEST(LateValues, ANegativeBoundSizeIsAnError) {
  const std::string text = R"(graph negative(%x: f32[n], %k: i64[1]) {
    bind(%k) {symbols = ["$0"]}
    %y = slice(%x) {axes = [0], starts = [0], sizes = [$0], steps = [1]}
    return %y as "y"
  })";
  for (const CompileOptions& options : {CompileOptions(), test::on_device("reference")}) {
    Session session(test::engine_of(text, options), {1});
    const Error error = error_of([&] { run(session, {f({3}, {1, 2, 3}), i({1}, {-1})}); });
    EXPECT_NE(error.code(), ErrorCode::internal) << error.what();
    EXPECT_EQ(run(session, {f({3}, {1, 2, 3}), i({1}, {2})}).at(0), f({2}, {1, 2}));
  }
}

TEST(LateValues, SequencesPassBetweenSteps) {
  const std::string text = R"(graph list(%x: f32[n, 2], %y: f32[m, 2]) {
    %list = sequence(%x, %y)
    %all = sequence(%list) {kind = concat, axis = 0}
    return %all as "all"
  })";
  expect_reference(text,
                   {{test::floats({3, 2}), test::floats({1, 2}, 2)}, {test::floats({0, 2}), test::floats({4, 2})}});
}

TEST(LateValues, ABoundOutputTakesWhatCame) {
  Session session(test::engine_of(kPositions), {1});
  std::vector<float> memory(3, -1);
  session.bind_output("z", memory.data(), memory.size() * sizeof(float));
  const Tensor two = f({5}, {0, 1, 0, 3, 0});
  const auto inputs = test::inputs_of(session.engine(), {two});
  EXPECT_EQ(session.run(inputs)[0].data, memory.data());
  EXPECT_EQ(memory, (std::vector<float>{2, 6, -1}));
  const Error error = error_of([&] { run(session, {f({5}, {1, 1, 1, 1, 0})}); });
  EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
  EXPECT_NE(error.message().find("'z'"), std::string::npos) << error.what();
}

}  // namespace
}  // namespace lathe
