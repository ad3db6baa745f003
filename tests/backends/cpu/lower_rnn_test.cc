// Recurrent layers against the reference: kinds, directions, optional operands, activations, sizes that fill panels and
// sizes that do not, weights that are not constant.
#include <limits>

#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class LowerRnn : public LowerTest {};
LATHE_FOR_EACH_DEVICE(LowerRnn);

struct Layer {
  std::string kind = "lstm", direction = "forward", activations, more_fields;
  int64_t input = 5, hidden = 7;
  bool bias = true, lengths = false, states = false, peepholes = false, constant_weights = true;

  int64_t directions() const { return direction == "bidirectional" ? 2 : 1; }
  int64_t gates() const { return kind == "rnn" ? 1 : kind == "gru" ? 3 : 4; }

  std::string functions() const {
    if (!activations.empty()) return activations;
    const std::string one = kind == "rnn" ? "tanh" : kind == "gru" ? "sigmoid, tanh" : "sigmoid, tanh, tanh";
    return directions() == 1 ? one : one + ", " + one;
  }

  // Parameters of activations: 0.5 throughout.
  std::string text() const {
    const std::string d = std::to_string(directions()), h = std::to_string(hidden), i = std::to_string(input),
                      rows = std::to_string(gates() * hidden);
    const std::string w = "f32[" + d + ", " + rows + ", " + i + "]", r = "f32[" + d + ", " + rows + ", " + h + "]";
    std::string inputs = "(%x: f32[s, b, " + i + "]", body = " { ";
    if (constant_weights)
      body += "%w = constant {value = " + w + " random(1)} %r = constant {value = " + r + " random(2)} ";
    else
      inputs += ", %w: " + w + ", %r: " + r;
    if (bias) inputs += ", %bias: f32[" + d + ", " + std::to_string(2 * gates() * hidden) + "]";
    if (lengths) inputs += ", %l: i64[b]";
    const std::string state = "f32[" + d + ", b, " + h + "]";
    if (states) inputs += ", %h: " + state;
    if (states && kind == "lstm") inputs += ", %c: " + state;
    if (peepholes) inputs += ", %p: f32[" + d + ", " + std::to_string(3 * hidden) + "]";
    const std::string operands =
        std::string("%x, %w, %r, ") + (bias ? "%bias" : "_") + ", " + (lengths ? "%l" : "_") + ", " +
        (states ? "%h" : "_") +
        (kind != "lstm" ? "" : std::string(", ") + (states ? "%c" : "_") + (peepholes ? ", %p" : ""));
    std::string halves;
    const std::string names = functions();
    for (size_t n = 0; n < static_cast<size_t>(1 + std::count(names.begin(), names.end(), ',')); ++n)
      halves += n == 0 ? "0.5" : ", 0.5";
    const std::string results = kind == "lstm" ? "%y, %yh, %yc" : "%y, %yh";
    return inputs + ")" + body + results + " = rnn(" + operands + ") {kind = " + kind + ", direction = " + direction +
           ", hidden = " + h + ", activations = [" + names + "], alpha = [" + halves + "], beta = [" + halves + "]" +
           more_fields + "} return " + results + " }";
  }

  std::vector<Tensor> operands(int64_t steps, int64_t batch) const {
    const int64_t d = directions(), rows = gates() * hidden;
    std::vector<Tensor> values = {floats({steps, batch, input})};
    if (!constant_weights) {
      values.push_back(random_tensor(DType::f32, {d, rows, input}, 11, -0.5, 0.5));
      values.push_back(random_tensor(DType::f32, {d, rows, hidden}, 12, -0.5, 0.5));
    }
    if (bias) values.push_back(floats({d, 2 * rows}, 3));
    if (lengths) {
      Tensor lens = ids({batch}, steps + 1, 4);
      if (batch > 1) lens.write_int(0, 0);
      values.push_back(lens);
    }
    if (states) values.push_back(floats({d, batch, hidden}, 5));
    if (states && kind == "lstm") values.push_back(floats({d, batch, hidden}, 6));
    if (peepholes) values.push_back(floats({d, 3 * hidden}, 7));
    return values;
  }
};

const std::string kKinds[] = {"rnn", "gru", "lstm"};
const std::string kDirections[] = {"forward", "reverse", "bidirectional"};

TEST_P(LowerRnn, KindsAndDirections) {
  for (const std::string& kind : kKinds) {
    for (const std::string& direction : kDirections) {
      Layer layer;
      layer.kind = kind;
      layer.direction = direction;
      check(layer.text(), layer.operands(6, 3));
      layer.lengths = layer.states = true;
      check(layer.text(), layer.operands(6, 5));
      layer.bias = false;
      check(layer.text(), layer.operands(1, 1));
    }
  }
}

TEST_P(LowerRnn, LinearBeforeReset) {
  for (const std::string& direction : kDirections) {
    Layer layer;
    layer.kind = "gru";
    layer.direction = direction;
    layer.more_fields = ", linear_before_reset = true";
    check(layer.text(), layer.operands(5, 2));
    layer.bias = false;
    layer.lengths = true;
    check(layer.text(), layer.operands(5, 4));
  }
}

TEST_P(LowerRnn, PeepholesClipAndCoupledGates) {
  for (const std::string& direction : kDirections) {
    Layer layer;
    layer.direction = direction;
    layer.peepholes = layer.states = true;
    check(layer.text(), layer.operands(4, 3));
    layer.more_fields = ", clip = 0.3, input_forget = true";
    check(layer.text(), layer.operands(4, 3));
  }
}

TEST_P(LowerRnn, Activations) {
  for (const std::string f : {"relu", "affine", "leaky_relu", "thresholded_relu", "scaled_tanh", "hard_sigmoid", "elu",
                              "softsign", "sigmoid"}) {
    Layer layer;
    layer.kind = "rnn";
    layer.activations = f;
    layer.more_fields = ", clip = 2";
    check(layer.text(), layer.operands(3, 2));
    layer.kind = "gru";
    layer.activations = "hard_sigmoid, " + f;
    check(layer.text(), layer.operands(3, 2));
  }
  Layer declined;
  declined.kind = "rnn";
  declined.activations = "softplus";
  check(declined.text(), declined.operands(3, 2), {2e-5, true, "rnn"});
}

// Enough units and sequences for several panels, several tiles of rows, and threads that share a direction.
TEST_P(LowerRnn, WideLayers) {
  for (const std::string& kind : kKinds) {
    Layer layer;
    layer.kind = kind;
    layer.hidden = 130;
    layer.input = 40;
    layer.constant_weights = false;
    check(layer.text(), layer.operands(3, 17), {2e-4, true, {}});
    layer.direction = "bidirectional";
    layer.hidden = 96;
    check(layer.text(), layer.operands(3, 16), {2e-4, true, {}});
  }
}

TEST_P(LowerRnn, EmptySizes) {
  for (const std::string& kind : kKinds) {
    Layer layer;
    layer.kind = kind;
    layer.states = true;
    check(layer.text(), layer.operands(0, 3));
    check(layer.text(), layer.operands(4, 0));
  }
}

TEST_P(LowerRnn, NanStaysInItsSequence) {
  Layer layer;
  layer.bias = false;
  std::vector<Tensor> operands = layer.operands(3, 3);
  operands[0].write_double(layer.input, std::numeric_limits<double>::quiet_NaN());  // step 0, sequence 1
  check(layer.text(), operands);
}

TEST_P(LowerRnn, LengthsBeyondTheStepsAreRefused) {
  Layer layer;
  layer.lengths = true;
  std::vector<Tensor> operands = layer.operands(3, 1);
  const auto graph = graph_of(layer.text());
  LoweredGraph lowered(*graph, GetParam(), 1, true);
  for (const int64_t wrong : {-1, 4}) {
    operands.back() = Tensor::of<int64_t>({1}, {wrong});
    EXPECT_THROW(lowered.run(operands), Error);
  }
}

}  // namespace
}  // namespace lathe::cpu
