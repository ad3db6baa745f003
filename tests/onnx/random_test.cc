// Random numbers: their distribution, and that they are the same in every run but differ between nodes.
#include <gtest/gtest.h>

#include <cmath>

#include "graph/reference/evaluator.h"
#include "tests/onnx/model_builder.h"

namespace lathe::onnx {
namespace {

constexpr int64_t kCount = 20000;

NodeAttribute shape() { return ints_attribute("shape", {kCount}); }

Tensor run(GraphBuilder& g, const std::vector<RefValue>& inputs = {}) {
  g.output("y");
  return std::get<Tensor>(evaluate(*import_bytes(model(g)), inputs).at(0));
}

struct Moments {
  double mean = 0, deviation = 0, low = INFINITY, high = -INFINITY;
};

Moments moments(const Tensor& t) {
  Moments m;
  double squares = 0;
  for (int64_t i = 0; i < t.elements(); ++i) {
    const double v = t.read_double(i);
    m.mean += v / static_cast<double>(t.elements());
    squares += v * v / static_cast<double>(t.elements());
    m.low = std::min(m.low, v);
    m.high = std::max(m.high, v);
  }
  m.deviation = std::sqrt(squares - m.mean * m.mean);
  return m;
}

TEST(RandomTest, UniformFillsItsRange) {
  GraphBuilder g;
  g.add(node("RandomUniform", {}, {"y"}, {shape(), float_attribute("low", -2), float_attribute("high", 4)}));
  const Moments m = moments(run(g));
  EXPECT_NEAR(m.mean, 1, 0.05);
  EXPECT_NEAR(m.deviation, 6 / std::sqrt(12), 0.05);
  EXPECT_GE(m.low, -2);
  EXPECT_LT(m.high, 4);
  EXPECT_LT(m.low, -1.99);
  EXPECT_GT(m.high, 3.99);
}

TEST(RandomTest, NormalHasItsMoments) {
  GraphBuilder g;
  g.add(node("RandomNormal", {}, {"y"}, {shape(), float_attribute("mean", 3), float_attribute("scale", 2)}));
  const Moments m = moments(run(g));
  EXPECT_NEAR(m.mean, 3, 0.05);
  EXPECT_NEAR(m.deviation, 2, 0.05);
  EXPECT_GT(m.high, 3 + 2 * 3.5);
}

TEST(RandomTest, SeedsAndNodesDiffer) {
  const auto numbers = [](float seed) {
    GraphBuilder g;
    g.add(node("RandomUniform", {}, {"y"}, {shape(), float_attribute("seed", seed)}));
    return run(g);
  };
  EXPECT_EQ(numbers(1), numbers(1));
  EXPECT_FALSE(numbers(1) == numbers(2));
  GraphBuilder g;
  g.add(node("RandomUniform", {}, {"a"}, {shape()})).add(node("RandomUniform", {}, {"b"}, {shape()}));
  g.add(node("Sub", {"a", "b"}, {"y"}));
  EXPECT_NEAR(moments(run(g)).deviation, std::sqrt(1.0 / 6), 0.02);  // of independent numbers
}

TEST(RandomTest, BernoulliAndMultinomialKeepTheirShares) {
  GraphBuilder coin;
  coin.input("p", 1, {"n"}).add(node("Bernoulli", {"p"}, {"y"}));
  Tensor p(DType::f32, {kCount});
  for (float& v : p.mutable_as<float>()) v = 0.3F;
  EXPECT_NEAR(moments(run(coin, {p})).mean, 0.3, 0.02);

  GraphBuilder dice;  // classes of shares 0, 1/4, 3/4
  dice.input("logits", 1, {"1", "3"});
  dice.add(node("Multinomial", {"logits"}, {"y"}, {int_attribute("sample_size", kCount)}));
  const Tensor drawn = run(dice, {Tensor::of<float>({1, 3}, {-INFINITY, 0, std::log(3.0F)})});
  EXPECT_EQ(drawn.dims(), (std::vector<int64_t>{1, kCount}));
  const Moments m = moments(drawn);
  EXPECT_EQ(m.low, 1);
  EXPECT_EQ(m.high, 2);
  EXPECT_NEAR(m.mean, 1.75, 0.02);
}

TEST(RandomTest, DropoutKeepsTheMean) {
  GraphBuilder g;
  g.input("x", 1, {"n"}).constant("ratio", Tensor::scalar(0.25F)).constant("training", Tensor::scalar(true));
  g.add(node("Dropout", {"x", "ratio", "training"}, {"y"}));
  Tensor x(DType::f32, {kCount});
  for (float& v : x.mutable_as<float>()) v = 3;
  const Moments m = moments(run(g, {x}));
  EXPECT_NEAR(m.mean, 3, 0.06);
  EXPECT_EQ(m.low, 0);
  EXPECT_NEAR(m.high, 4, 1e-6);
}

}  // namespace
}  // namespace lathe::onnx
