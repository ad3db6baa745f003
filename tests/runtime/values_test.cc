// Inputs and outputs that are no tensors of numbers: strings, sequences, optionals; on the host, and beside a device
// whose memory is elsewhere.
#include "runtime/session.h"

#include <algorithm>

#include "tests/runtime/island.h"

namespace lathe {
namespace {

using test::error_of;
using test::Sizes;
using Strings = std::vector<std::string>;
using Floats = std::vector<float>;

constexpr const char* kStrings = R"(graph model(%a: string[n], %b: string[1], %x: f32[n]) {
  %ab = extern(%a, %b) {kernel = "string_concat"}
  %y = map(%x) {program = (x0) => add(x0, x0)}
  return %ab as "joined", %a as "same", %y as "y"
})";

// A sequence with one tensor more, and how many there were.
constexpr const char* kSequences = R"(graph model(%list: seq<f32[*]>, %x: f32[2], %at: i64[]) {
  %longer = sequence(%list, %x, %at) {kind = insert}
  %count = sequence(%list) {kind = length}
  return %longer as "longer", %count as "count"
})";

constexpr const char* kOptionals = R"(graph model(%maybe: optional<f32[2]>, %list: optional<seq<f32[*]>>) {
  %has = sequence(%maybe) {kind = optional_has}
  return %has as "has", %maybe as "same", %list as "same list"
})";

// Runs on the CPU, and on an island: `check(session)` makes the runs.
template <class Check>
void on_each_device(const char* text, Check&& check) {
  Session host(test::engine_of(text), {1});
  check(host);
  test::IslandMemory memory;
  Session island(make_engine(test::compile_on_island(text, memory)), {1});
  check(island);
}

Strings strings_of(const Output& output) {
  const auto strings = output.as<std::string>();
  return {strings.begin(), strings.end()};
}

Floats floats_of(const Output& output) {
  const auto floats = output.as<float>();
  return {floats.begin(), floats.end()};
}

Sizes dims_of(const Output& output) { return {output.dims.begin(), output.dims.end()}; }

TEST(Values, Strings) {
  on_each_device(kStrings, [](Session& session) {
    EXPECT_EQ(session.engine().inputs()[0].dtype, DType::string);
    const Floats x = {1, 2};
    const Strings b = {"!"};
    for (const Strings& a : {Strings{"left", "a text that is too long to lie in the object"}, Strings{"", "é"}}) {
      const auto outputs = session.run({{"a", a, {2}}, {"b", b, {1}}, {"x", x, {2}}});
      EXPECT_EQ(strings_of(outputs[0]), (Strings{a[0] + "!", a[1] + "!"}));
      EXPECT_EQ(strings_of(outputs[1]), a);
      EXPECT_EQ(dims_of(outputs[0]), Sizes{2});
      EXPECT_EQ(floats_of(outputs[2]), (Floats{2, 4}));
    }
    EXPECT_EQ(dims_of(session.run({{"a", Strings(), {0}}, {"b", b, {1}}, {"x", Floats(), {0}}})[0]), Sizes{0});
  });
}

TEST(Values, ResultsOutliveWhatWasGiven) {
  Session session(test::engine_of(kStrings), {1});
  const Floats x = {1};
  std::span<const Output> outputs;
  {
    const Strings a = {"a text that is too long to lie in the object"}, b = {""};
    outputs = session.run({{"a", a, {1}}, {"b", b, {1}}, {"x", x, {1}}});
  }
  EXPECT_EQ(strings_of(outputs[1]), Strings{"a text that is too long to lie in the object"});
}

TEST(Values, Sequences) {
  on_each_device(kSequences, [](Session& session) {
    const TensorInfo& info = session.engine().inputs()[0];
    EXPECT_EQ(info.kind, ValueKind::sequence);
    EXPECT_FALSE(info.ranked);
    const Floats one = {1}, four = {1, 2, 3, 4}, x = {5, 6};
    const std::vector<int64_t> at = {1};
    const auto run = [&](std::vector<Input> list) {
      return session.run({Input::sequence("list", std::move(list)), {"x", x, {2}}, {"at", at, {}}});
    };
    auto outputs = run({{"", one, {1}}, {"", four, {2, 2}}});
    EXPECT_EQ(outputs[0].kind, ValueKind::sequence);
    ASSERT_EQ(outputs[0].tensors.size(), 3u);
    EXPECT_EQ(floats_of(outputs[0].tensors[0]), one);
    EXPECT_EQ(floats_of(outputs[0].tensors[1]), x);
    EXPECT_EQ(floats_of(outputs[0].tensors[2]), four);
    EXPECT_EQ(dims_of(outputs[0].tensors[2]), (Sizes{2, 2}));
    EXPECT_EQ(outputs[1].as<int64_t>()[0], 2);
    outputs = run({{"", one, {1}}});
    EXPECT_EQ(outputs[0].tensors.size(), 2u);
    EXPECT_NE(std::string(error_of([&] { outputs[0].as<float>(); }).what()).find("a sequence"), std::string::npos);
  });
}

TEST(Values, Optionals) {
  on_each_device(kOptionals, [](Session& session) {
    EXPECT_TRUE(session.engine().inputs()[0].optional);
    EXPECT_EQ(session.engine().inputs()[1].kind, ValueKind::sequence);
    const Floats x = {5, 6};
    auto outputs = session.run({{"maybe", x, {2}}, Input::nothing("list")});
    EXPECT_TRUE(outputs[0].as<bool>()[0]);
    EXPECT_EQ(floats_of(outputs[1]), x);
    EXPECT_EQ(outputs[2].kind, ValueKind::nothing);
    outputs = session.run({Input::nothing("maybe"), Input::sequence("list", {})});
    EXPECT_FALSE(outputs[0].as<bool>()[0]);
    EXPECT_EQ(outputs[1].kind, ValueKind::nothing);
    EXPECT_EQ(outputs[2].kind, ValueKind::sequence);
    EXPECT_TRUE(outputs[2].tensors.empty());
  });
}

TEST(Values, WhatDoesNotFitIsNamed) {
  static const Floats x = {5, 6};
  static const Floats one = {1};
  static const Strings words = {"a", "b"}, word = {"a"};
  static const std::vector<int64_t> at = {0};
  struct Refused {
    const char* model;
    std::vector<Input> inputs;
    const char* named;
  };
  const Input good_x("x", x, {2}), good_at("at", at, {}), good_b("b", word, {1});
  const std::vector<Refused> cases = {
      {kStrings, {{"a", x, {2}}, good_b, good_x}, "'a' must be string"},
      {kStrings, {{"a", words, {3}}, good_b, good_x}, "'a' has 2 elements"},
      {kStrings, {Input("a", words, {2}), {"b", words, {2}}, good_x}, "'b' must have shape [1]"},
      {kStrings, {Input("a", DType::string, {2}, words.data(), Memory::device), good_b, good_x}, "host"},
      {kSequences, {{"list", x, {2}}, good_x, good_at}, "'list' must be a sequence, not a tensor"},
      {kSequences, {Input::nothing("list"), good_x, good_at}, "'list' must be a sequence, not nothing"},
      {kSequences, {Input::sequence("list", {}), Input::sequence("x", {}), good_at}, "'x' must be a tensor"},
      {kSequences, {Input::sequence("list", {good_x, good_at}), good_x, good_at}, "'list.1' must be f32"},
      {kOptionals, {Input("maybe", one, {1}), Input::nothing("list")}, "'maybe' must have shape [2]"},
  };
  for (const Refused& refused : cases) {
    Session session(test::engine_of(refused.model), {1});
    const Error error = error_of([&] { session.run(refused.inputs); });
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << refused.named;
    EXPECT_NE(error.message().find(refused.named), std::string::npos) << error.what();
  }
}

TEST(Values, OnlyNumbersCanBeBound) {
  Session session(test::engine_of(kSequences), {1});
  float memory[8];
  const auto name = session.engine().outputs()[0].name;
  EXPECT_EQ(error_of([&] { session.bind_output(name, memory, sizeof(memory)); }).code(), ErrorCode::invalid_argument);
  session.bind_output(name, nullptr, 0);
}

}  // namespace
}  // namespace lathe
