#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

Rnn layer(RnnKind kind, std::vector<RnnActivation> activations) {
  Rnn op;
  op.kind = kind;
  op.hidden = 1;
  op.activations = std::move(activations);
  return op;
}

const std::vector<RnnActivation> kLstm{RnnActivation::sigmoid, RnnActivation::tanh, RnnActivation::tanh};
const std::vector<RnnActivation> kGru{RnnActivation::sigmoid, RnnActivation::tanh};

std::vector<Tensor> run_layer(const Rnn& op, const std::vector<std::optional<Tensor>>& inputs) {
  std::vector<RefValue> values;
  for (const auto& input : inputs) values.emplace_back(input ? RefValue(*input) : RefValue());
  std::vector<const RefValue*> operands;
  for (size_t i = 0; i < inputs.size(); ++i) operands.push_back(inputs[i] ? &values[i] : nullptr);
  SymbolBindings symbols;
  std::vector<Tensor> results;
  for (const RefValue& result : evaluate_op(op, operands, op.kind == RnnKind::lstm ? 3 : 2, symbols))
    results.push_back(std::get<Tensor>(result));
  return results;
}

TEST(ReferenceRnn, SimpleInBothDirections) {
  Rnn op = layer(RnnKind::rnn, {RnnActivation::affine, RnnActivation::affine});
  op.alpha = {1, 1};
  op.beta = {0, 0};
  op.direction = RnnDirection::bidirectional;
  // Forward h = x + 2 h, backward h = 10 x + h + 0.5.
  const auto y = run_layer(op, {counting({3, 1, 1}), floats({2, 1, 1}, {1, 10}), floats({2, 1, 1}, {2, 1}),
                                floats({2, 2}, {0, 0, 0.25f, 0.25f})});
  expect_values(y[0], {3, 2, 1, 1}, {1, 61.5, 4, 51, 11, 30.5});
  expect_values(y[1], {2, 1, 1}, {11, 61.5});
}

TEST(ReferenceRnn, SequencesEndWhereTheirLengthSays) {
  Rnn op = layer(RnnKind::rnn, {RnnActivation::affine});
  op.alpha = {1};
  op.beta = {0};
  const Tensor x = counting({2, 2, 1}), one = floats({1, 1, 1}, {1});
  const Tensor lengths = Tensor::of<int32_t>({2}, {1, 2}), initial = floats({1, 2, 1}, {100, 200});
  auto y = run_layer(op, {x, one, one, std::nullopt, lengths, initial});
  expect_values(y[0], {2, 1, 2, 1}, {101, 202, 0, 206});
  expect_values(y[1], {1, 2, 1}, {101, 206});
  op.direction = RnnDirection::reverse;
  y = run_layer(op, {x, one, one, std::nullopt, lengths, initial});
  expect_values(y[0], {2, 1, 2, 1}, {101, 206, 0, 204});
}

TEST(ReferenceRnn, ClipBoundsTheActivationsInput) {
  Rnn op = layer(RnnKind::rnn, {RnnActivation::tanh});
  op.clip = 0.5;
  const Tensor one = floats({1, 1, 1}, {1});
  expect_values(run_layer(op, {floats({1, 1, 1}, {7}), one, one})[0], {1, 1, 1, 1}, {std::tanh(0.5)});
}

TEST(ReferenceRnn, GruResetsBeforeOrAfterTheProduct) {
  Rnn op = layer(RnnKind::gru, kGru);
  const Tensor x = floats({1, 1, 1}, {0.5f}), w = floats({1, 3, 1}, {1, 2, 3}),
               r = floats({1, 3, 1}, {0.1f, 0.2f, 0.3f});
  const Tensor bias = floats({1, 6}, {0, 0, 0, 0, 0, 0.4f}), h0 = floats({1, 1, 1}, {2});
  const double z = sigmoid(0.5 + 0.2), reset = sigmoid(1 + 0.4);
  const auto mixed = [&](double candidate) { return std::vector<double>{(1 - z) * std::tanh(candidate) + z * 2}; };
  expect_values(run_layer(op, {x, w, r, bias, std::nullopt, h0})[1], {1, 1, 1}, mixed(1.5 + reset * 2 * 0.3 + 0.4));
  op.linear_before_reset = true;
  expect_values(run_layer(op, {x, w, r, bias, std::nullopt, h0})[1], {1, 1, 1}, mixed(1.5 + reset * (2 * 0.3 + 0.4)));
}

TEST(ReferenceRnn, LstmWithPeepholesAndCoupledGates) {
  Rnn op = layer(RnnKind::lstm, kLstm);
  const Tensor x = floats({1, 1, 1}, {1}), w = floats({1, 4, 1}, {0.1f, 0.2f, 0.3f, 0.4f}),
               r = floats({1, 4, 1}, {1, 1, 1, 1});
  const Tensor h0 = floats({1, 1, 1}, {0.5f}), c0 = floats({1, 1, 1}, {2}),
               peepholes = floats({1, 3}, {0.01f, 0.02f, 0.03f});
  const double in = sigmoid(0.6 + 0.02), candidate = std::tanh(0.9);
  const auto expect = [&](double forget) {
    const double c = forget * 2 + in * candidate, out = sigmoid(0.7 + 0.02 * c);
    const auto y = run_layer(op, {x, w, r, std::nullopt, std::nullopt, h0, c0, peepholes});
    expect_values(y[0], {1, 1, 1, 1}, {out * std::tanh(c)});
    expect_values(y[1], {1, 1, 1}, {out * std::tanh(c)});
    expect_values(y[2], {1, 1, 1}, {c});
  };
  expect(sigmoid(0.8 + 0.06));
  op.input_forget = true;
  expect(1 - in);
}

TEST(ReferenceRnn, EveryActivation) {
  const auto activated = [](RnnActivation kind, float x, double alpha, double beta) {
    Rnn op = layer(RnnKind::rnn, {kind});
    op.alpha = {alpha};
    op.beta = {beta};
    const Tensor one = floats({1, 1, 1}, {1});
    return run_layer(op, {floats({1, 1, 1}, {x}), one, one})[0].read_double(0);
  };
  EXPECT_EQ(activated(RnnActivation::relu, -2, 0, 0), 0);
  EXPECT_EQ(activated(RnnActivation::affine, 2, 3, 1), 7);
  EXPECT_EQ(activated(RnnActivation::leaky_relu, -2, 0.25, 0), -0.5);
  EXPECT_EQ(activated(RnnActivation::thresholded_relu, 0.5f, 1, 0), 0);
  EXPECT_EQ(activated(RnnActivation::hard_sigmoid, 1, 0.25, 0.5), 0.75);
  EXPECT_NEAR(activated(RnnActivation::scaled_tanh, 1, 2, 0.5), 2 * std::tanh(0.5), 1e-7);
  EXPECT_NEAR(activated(RnnActivation::elu, -1, 2, 0), 2 * (std::exp(-1) - 1), 1e-7);
  EXPECT_EQ(activated(RnnActivation::softsign, -1, 0, 0), -0.5);
  EXPECT_NEAR(activated(RnnActivation::softplus, 1, 0, 0), std::log(1 + std::exp(1)), 1e-6);
  EXPECT_NEAR(activated(RnnActivation::sigmoid, 1, 0, 0), sigmoid(1), 1e-7);
}

TEST(ReferenceRnn, NamesShapesThatDoNotFit) {
  const Rnn op = layer(RnnKind::lstm, kLstm);
  expect_error(ErrorCode::invalid_argument, "expected [1, 4, 1]", [&] {
    run_layer(op, {counting({1, 1, 1}), counting({1, 3, 1}), counting({1, 4, 1})});
  });
}

}  // namespace
}  // namespace lathe
