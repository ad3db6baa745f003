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

// The graph as it stands on the reference backend against another one, fused and on the CPU.
LayerReport compare_fused(const std::string& expected, const std::string& tested, const std::vector<Input>& inputs) {
  CompileOptions options;
  options.isa = Isa::generic;
  Session reference(engine_of(expected), {1});
  Session fused(make_engine(compile(parse_graph(tested), options)), {1});
  return compare_layers(reference, fused, inputs, {1e-4, 1e-4});
}

std::string values_of(const LayerReport& report) {
  std::string names;
  for (const LayerComparison& layer : report.layers) names += (names.empty() ? "" : " ") + layer.value;
  return names;
}

// Three layers; the seed of the second one's weights makes it right (2) or wrong.
std::string perceptron(int seed) {
  return R"(graph g(%x: f32[n, 8]) {
    %w1 = constant {value = f32[8, 8] random(1)}
    %w2 = constant {value = f32[8, 8] random()" +
         std::to_string(seed) + R"()}
    %bias = constant {value = f32[8] random(4)}
    %a1 = matmul(%x, %w1)
    %b1 = map(%a1, %bias) {program = (x0, x1) => add(x0, x1)}
    %layer1 = map(%b1) {program = (x0) => relu(x0)}
    %a2 = matmul(%layer1, %w2)
    %b2 = map(%a2, %bias) {program = (x0, x1) => add(x0, x1)}
    %layer2 = map(%b2) {program = (x0) => relu(x0)}
    %a3 = matmul(%layer2, %w1)
    %layer3 = map(%a3, %bias) {program = (x0, x1) => add(x0, x1)}
    return %layer3 as "y"
  })";
}

TEST(LayerCompareTest, FusedLayersCarryTheNamesOfTheModel) {
  const std::vector<float> data = {1, -2, 3, 0.5F, -1, 2, 0.25F, 4};
  const std::vector<Input> inputs = {Input("x", data, {1, 8})};
  LayerReport report = compare_fused(perceptron(2), perceptron(2), inputs);
  EXPECT_EQ(values_of(report), "layer1 layer2 layer3");
  EXPECT_EQ(report.unmatched, 0u);
  EXPECT_EQ(report.first_drift(), nullptr);
  report = compare_fused(perceptron(2), perceptron(22), inputs);
  ASSERT_NE(report.first_drift(), nullptr);
  EXPECT_EQ(report.first_drift()->value, "layer2");
  EXPECT_EQ(report.first_drift()->op, "matmul");
}

std::string convolutions(int seed) {
  const std::string window = "{strides = [1, 1], dilations = [1, 1], pads = [1, 1, 1, 1]}";
  return R"(graph g(%x: f32[n, 2, 3, 4]) {
    %w1 = constant {value = f32[2, 2, 3, 3] random(1)}
    %w2 = constant {value = f32[2, 2, 3, 3] random()" +
         std::to_string(seed) + ")}\n%c1 = conv(%x, %w1) " + window +
         "\n%layer1 = map(%c1) {program = (x0) => relu(x0)}\n%c2 = conv(%layer1, %w2) " + window +
         "\n%layer2 = map(%c2) {program = (x0) => relu(x0)}\n%layer3 = conv(%layer2, %w1) " + window +
         "\nreturn %layer3 as \"y\" }";
}

TEST(LayerCompareTest, ChannelsLastValuesAreComparedInTheOrderOfTheModel) {
  std::vector<float> data(24);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i % 7) - 3;
  const std::vector<Input> inputs = {Input("x", data, {1, 2, 3, 4})};
  LayerReport report = compare_fused(convolutions(2), convolutions(2), inputs);
  EXPECT_EQ(values_of(report), "layer1 layer2 layer3");
  EXPECT_EQ(report.first_drift(), nullptr);
  ASSERT_FALSE(report.layers.empty());
  EXPECT_EQ(report.layers[0].dims, (std::vector<int64_t>{1, 2, 3, 4}));
  report = compare_fused(convolutions(2), convolutions(22), inputs);
  ASSERT_NE(report.first_drift(), nullptr);
  EXPECT_EQ(report.first_drift()->value, "layer2");
}

}  // namespace
}  // namespace lathe::tools
