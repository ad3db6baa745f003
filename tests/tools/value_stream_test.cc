#include "tools/value_stream.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "base/error.h"
#include "graph/text.h"
#include "runtime/engine.h"
#include "tools/layer_compare.h"

namespace lathe::tools {
namespace {

// Engine of a small graph on the reference backend, as it stands.
std::shared_ptr<const Engine> engine_of(std::string_view text) {
  CompileOptions options;
  options.device = "reference";
  options.optimise = false;
  return make_engine(compile(parse_graph(text), options));
}

constexpr std::string_view kModel = R"(graph g(%x: f32[n]) {
  %a = map(%x) {program = (x0) => exp(x0)} : f32[n]
  %b = map(%a) {program = (x0) => neg(x0)} : f32[n]
  %c = map(%b) {program = (x0) => abs(x0)} : f32[n]
  return %c as "y"
})";

struct ValueStreamTest : testing::Test {
  std::vector<float> data = {0, 1};
  std::vector<Input> inputs = {Input("x", data, {2})};
};

TEST_F(ValueStreamTest, GivesEveryValueInOrder) {
  Session session(engine_of(kModel), {1});
  ValueStream stream(session, inputs);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the run may be ahead of the first call
  for (const char* name : {"a", "b", "c"}) {
    const StepValue* value = stream.next();
    ASSERT_NE(value, nullptr);
    EXPECT_EQ(value->name, name);
    EXPECT_EQ(value->tensor.read_double(0), std::string(name) == "b" ? -1 : 1);
  }
  EXPECT_EQ(stream.next(), nullptr);
  EXPECT_EQ(stream.next(), nullptr);
}

TEST_F(ValueStreamTest, MayBeLeftEarly) {
  Session session(engine_of(kModel), {1});
  {
    ValueStream stream(session, inputs);
    ASSERT_NE(stream.next(), nullptr);
  }
  { ValueStream unread(session, inputs); }
  EXPECT_EQ(session.run(inputs)[0].as<float>()[0], 1);  // the session is as good as new
}

TEST_F(ValueStreamTest, FailuresArrive) {
  Session session(engine_of(kModel), {1});
  const std::vector<Input> wrong = {Input("z", data, {2})};
  ValueStream stream(session, wrong);
  EXPECT_THROW(stream.next(), Error);
}

TEST_F(ValueStreamTest, LayersAreMatchedByNameInAnyOrder) {
  // Another order, one value less, and one that is wrong.
  Session expected(engine_of(R"(graph g(%x: f32[n]) {
    %p = map(%x) {program = (x0) => neg(x0)} : f32[n]
    %q = map(%x) {program = (x0) => exp(x0)} : f32[n]
    %r = map(%x) {program = (x0) => abs(x0)} : f32[n]
    %only = map(%r) {program = (x0) => abs(x0)} : f32[n]
    return %only as "y", %p as "p", %q as "q"
  })"),
                   {1});
  Session tested(engine_of(R"(graph g(%x: f32[n]) {
    %r = map(%x) {program = (x0) => abs(x0)} : f32[n]
    %q = map(%x) {program = (x0) => expm1(x0)} : f32[n]
    %p = map(%x) {program = (x0) => neg(x0)} : f32[n]
    %new = map(%p) {program = (x0) => neg(x0)} : f32[n]
    return %r as "y", %p as "p", %q as "q", %new as "new"
  })"),
                 {1});
  const LayerReport report = compare_layers(expected, tested, inputs, {1e-6, 1e-6});
  ASSERT_EQ(report.layers.size(), 3u);
  EXPECT_EQ(report.unmatched, 1u);
  EXPECT_FALSE(report.layers[0].drifted);
  EXPECT_TRUE(report.layers[1].drifted);
  EXPECT_FALSE(report.layers[2].drifted);
  ASSERT_NE(report.first_drift(), nullptr);
  EXPECT_EQ(report.first_drift()->value, "q");
}

}  // namespace
}  // namespace lathe::tools
