// RNN, GRU and LSTM layers, all states in double. Notation as in the ONNX operators: X W^T + H R^T + Wb + Rb per gate.
#include <algorithm>
#include <cmath>

#include "graph/reference/families.h"
#include "graph/reference/indexing.h"

namespace lathe::reference {
namespace {

using Vector = std::vector<double>;

struct Activation {
  RnnActivation kind;
  double alpha = 0, beta = 0;

  double operator()(double x) const {
    switch (kind) {
      case RnnActivation::relu: return x < 0 ? 0 : x;
      case RnnActivation::tanh: return std::tanh(x);
      case RnnActivation::sigmoid: return 1 / (1 + std::exp(-x));
      case RnnActivation::affine: return alpha * x + beta;
      case RnnActivation::leaky_relu: return x < 0 ? alpha * x : x;
      case RnnActivation::thresholded_relu: return x < alpha ? 0 : x;
      case RnnActivation::scaled_tanh: return alpha * std::tanh(beta * x);
      case RnnActivation::hard_sigmoid: return std::clamp(alpha * x + beta, 0.0, 1.0);
      case RnnActivation::elu: return x < 0 ? alpha * std::expm1(x) : x;
      case RnnActivation::softsign: return x / (1 + std::abs(x));
      case RnnActivation::softplus: return std::fmax(x, 0) + std::log1p(std::exp(-std::abs(x)));
    }
    return x;
  }
};

int64_t gate_count(RnnKind kind) { return kind == RnnKind::rnn ? 1 : kind == RnnKind::gru ? 3 : 4; }
size_t activation_count(RnnKind kind) { return kind == RnnKind::rnn ? 1 : kind == RnnKind::gru ? 2 : 3; }

// The weights of one direction: views of the operands' elements.
struct Weights {
  const double* w;       // [gates * hidden, input]
  const double* r;       // [gates * hidden, hidden]
  const double* w_bias;  // [gates * hidden]; null: none
  const double* r_bias;
  const double* peephole;  // [3 * hidden] in the order input, output, forget; null: none
};

// One sequence of one direction: steps it from state to state.
class Cell {
 public:
  Cell(const Rnn& op, size_t direction, const Weights& weights, int64_t input)
      : op_(op), weights_(weights), input_(input), hidden_(static_cast<size_t>(op.hidden)) {
    const size_t count = activation_count(op.kind);
    for (size_t i = direction * count; i < (direction + 1) * count; ++i)
      activations_.push_back(
          {op.activations[i], i < op.alpha.size() ? op.alpha[i] : 0, i < op.beta.size() ? op.beta[i] : 0});
  }

  void step(const double* x, Vector& h, Vector& c) const {
    switch (op_.kind) {
      case RnnKind::rnn: return step_rnn(x, h);
      case RnnKind::gru: return step_gru(x, h);
      case RnnKind::lstm: return step_lstm(x, h, c);
    }
  }

 private:
  double dot(const double* matrix, size_t row, const double* vector, size_t width) const {
    double sum = 0;
    for (size_t i = 0; i < width; ++i) sum += matrix[row * width + i] * vector[i];
    return sum;
  }
  double from_input(size_t gate, size_t i, const double* x) const {
    const size_t row = gate * hidden_ + i;
    return dot(weights_.w, row, x, static_cast<size_t>(input_)) +
           (weights_.w_bias == nullptr ? 0 : weights_.w_bias[row]);
  }
  double from_state(size_t gate, size_t i, const Vector& h) const {
    const size_t row = gate * hidden_ + i;
    return dot(weights_.r, row, h.data(), hidden_) + (weights_.r_bias == nullptr ? 0 : weights_.r_bias[row]);
  }
  double peephole(size_t gate, size_t i, double c) const {
    return weights_.peephole == nullptr ? 0 : weights_.peephole[gate * hidden_ + i] * c;
  }
  double activate(size_t which, double x) const {
    return activations_[which](op_.clip > 0 ? std::clamp(x, -op_.clip, op_.clip) : x);
  }

  void step_rnn(const double* x, Vector& h) const {
    Vector next(hidden_);
    for (size_t i = 0; i < hidden_; ++i) next[i] = activate(0, from_input(0, i, x) + from_state(0, i, h));
    h = std::move(next);
  }

  // Gates: update z, reset r, hidden h.
  void step_gru(const double* x, Vector& h) const {
    Vector update(hidden_), reset(hidden_), gated(hidden_), next(hidden_);
    for (size_t i = 0; i < hidden_; ++i) {
      update[i] = activate(0, from_input(0, i, x) + from_state(0, i, h));
      reset[i] = activate(0, from_input(1, i, x) + from_state(1, i, h));
      gated[i] = reset[i] * h[i];
    }
    for (size_t i = 0; i < hidden_; ++i) {
      const double recurrent = op_.linear_before_reset ? reset[i] * from_state(2, i, h) : from_state(2, i, gated);
      next[i] = (1 - update[i]) * activate(1, from_input(2, i, x) + recurrent) + update[i] * h[i];
    }
    h = std::move(next);
  }

  // Gates: input i, output o, forget f, cell c.
  void step_lstm(const double* x, Vector& h, Vector& c) const {
    Vector next(hidden_);
    for (size_t i = 0; i < hidden_; ++i) {
      const double in = activate(0, from_input(0, i, x) + from_state(0, i, h) + peephole(0, i, c[i]));
      const double forget =
          op_.input_forget ? 1 - in : activate(0, from_input(2, i, x) + from_state(2, i, h) + peephole(2, i, c[i]));
      const double candidate = activate(1, from_input(3, i, x) + from_state(3, i, h));
      c[i] = forget * c[i] + in * candidate;
      const double out = activate(0, from_input(1, i, x) + from_state(1, i, h) + peephole(1, i, c[i]));
      next[i] = out * activations_[2](c[i]);
    }
    h = std::move(next);
  }

  const Rnn& op_;
  Weights weights_;
  int64_t input_;
  size_t hidden_;
  std::vector<Activation> activations_;
};

Vector read_optional(const Call& call, size_t i, const Sizes& expected) {
  const Tensor* tensor = call.optional_tensor(i);
  if (tensor == nullptr) return {};
  if (tensor->dims() != expected)
    fail(ErrorCode::invalid_argument, "operand {} has shape {}, expected {}", i, to_string(tensor->dims()),
         to_string(expected));
  return read_wide<double>(*tensor);
}

// The whole layer: operands as numbers, results as they fill up.
class Layer {
 public:
  Layer(const Rnn& op, const Call& call) : op_(op) {
    const Tensor& x = call.tensor(0);
    if (x.rank() != 3)
      fail(ErrorCode::invalid_argument, "an input of shape {}, expected [seq, batch, input]", to_string(x.dims()));
    steps_ = x.dims()[0], batch_ = x.dims()[1], input_ = x.dims()[2];
    directions_ = op.direction == RnnDirection::bidirectional ? 2 : 1;
    rows_ = gate_count(op.kind) * op.hidden;
    if (op.activations.size() != static_cast<size_t>(directions_) * activation_count(op.kind))
      fail(ErrorCode::invalid_model, "{} activations for {} directions", op.activations.size(), directions_);
    x_ = read_wide<double>(x);
    w_ = read_required(call, 1, {directions_, rows_, input_});
    r_ = read_required(call, 2, {directions_, rows_, op.hidden});
    bias_ = read_optional(call, 3, {directions_, 2 * rows_});
    lengths_.assign(static_cast<size_t>(batch_), steps_);
    if (const Tensor* lengths = call.optional_tensor(4)) read_lengths(*lengths);
    h_ = read_optional(call, 5, {directions_, batch_, op.hidden});
    c_ = read_optional(call, 6, {directions_, batch_, op.hidden});
    peepholes_ = read_optional(call, 7, {directions_, 3 * op.hidden});
    const auto states = static_cast<size_t>(directions_ * batch_ * op.hidden);
    h_.resize(states);  // zeros where no initial state is given
    c_.resize(states);
    y_.resize(static_cast<size_t>(steps_) * states);
  }

  std::vector<RefValue> run(DType type, size_t num_outputs) {
    for (int64_t d = 0; d < directions_; ++d)
      for (int64_t b = 0; b < batch_; ++b) run_sequence(d, b);
    const Sizes state{directions_, batch_, op_.hidden};
    std::vector<RefValue> results{write_wide(type, {steps_, directions_, batch_, op_.hidden}, y_),
                                  write_wide(type, state, h_), write_wide(type, state, c_)};
    results.resize(std::min(results.size(), num_outputs));
    return results;
  }

 private:
  static Vector read_required(const Call& call, size_t i, const Sizes& expected) {
    call.tensor(i);
    return read_optional(call, i, expected);
  }

  void read_lengths(const Tensor& lengths) {
    if (lengths.elements() != batch_)
      fail(ErrorCode::invalid_argument, "{} lengths for {} sequences", lengths.elements(), batch_);
    for (int64_t b = 0; b < batch_; ++b) {
      const int64_t length = lengths.read_int(b);
      if (length < 0 || length > steps_)
        fail(ErrorCode::invalid_argument, "a length of {} in {} steps", length, steps_);
      lengths_[static_cast<size_t>(b)] = length;
    }
  }

  Weights weights_of(int64_t d) const {
    const auto from = [&](const Vector& v, int64_t offset) { return v.empty() ? nullptr : v.data() + offset; };
    return {w_.data() + d * rows_ * input_, r_.data() + d * rows_ * op_.hidden, from(bias_, d * 2 * rows_),
            from(bias_, (d * 2 + 1) * rows_), from(peepholes_, d * 3 * op_.hidden)};
  }

  // A reverse direction starts at the end of the sequence, not of the padding. Padded steps of y stay 0.
  void run_sequence(int64_t d, int64_t b) {
    const bool reverse = d == 1 || op_.direction == RnnDirection::reverse;
    const Cell cell(op_, static_cast<size_t>(d), weights_of(d), input_);
    const int64_t state = (d * batch_ + b) * op_.hidden, length = lengths_[static_cast<size_t>(b)];
    Vector h(h_.begin() + state, h_.begin() + state + op_.hidden),
        c(c_.begin() + state, c_.begin() + state + op_.hidden);
    for (int64_t i = 0; i < length; ++i) {
      const int64_t t = reverse ? length - 1 - i : i;
      cell.step(x_.data() + (t * batch_ + b) * input_, h, c);
      std::copy(h.begin(), h.end(), y_.begin() + ((t * directions_ + d) * batch_ + b) * op_.hidden);
    }
    std::copy(h.begin(), h.end(), h_.begin() + state);
    std::copy(c.begin(), c.end(), c_.begin() + state);
  }

  const Rnn& op_;
  int64_t steps_ = 0, batch_ = 0, input_ = 0, directions_ = 1, rows_ = 0;
  Vector x_, w_, r_, bias_, h_, c_, peepholes_, y_;
  std::vector<int64_t> lengths_;
};

}  // namespace

std::vector<RefValue> evaluate(const Rnn& op, const Call& call) {
  return Layer(op, call).run(call.tensor(0).dtype(), call.num_outputs);
}

}  // namespace lathe::reference
