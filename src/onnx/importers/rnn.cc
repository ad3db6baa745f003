// RNN, GRU, LSTM. Layout 1 (batch first) is imported as transposes around the time-major op.
#include <algorithm>

#include "base/ascii.h"
#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

struct Activation {
  std::string_view name;  // lower case: ONNX compares without case
  RnnActivation function;
  int parameters;  // how many of alpha, beta it takes
  double alpha, beta;
};

constexpr Activation kActivations[] = {
    {"relu", RnnActivation::relu, 0, 0, 0},
    {"tanh", RnnActivation::tanh, 0, 0, 0},
    {"sigmoid", RnnActivation::sigmoid, 0, 0, 0},
    {"affine", RnnActivation::affine, 2, 1, 0},
    {"leakyrelu", RnnActivation::leaky_relu, 1, 0.01F, 0},
    {"thresholdedrelu", RnnActivation::thresholded_relu, 1, 1, 0},
    {"scaledtanh", RnnActivation::scaled_tanh, 2, 1, 1},
    {"hardsigmoid", RnnActivation::hard_sigmoid, 2, 0.2F, 0.5},
    {"elu", RnnActivation::elu, 1, 1, 0},
    {"softsign", RnnActivation::softsign, 0, 0, 0},
    {"softplus", RnnActivation::softplus, 0, 0, 0},
};

const Activation& find_activation(Context& ctx, const std::string& name) {
  for (const Activation& a : kActivations)
    if (a.name == ascii_lower(name)) return a;
  ctx.unsupported(fmt::format("the activation '{}' is not known", name));
}

// Functions with their parameters. The lists of alpha and beta hold values for those functions that take them, in
// order.
void read_activations(Context& ctx, const std::vector<std::string>& defaults, Rnn& op) {
  const size_t directions = op.direction == RnnDirection::bidirectional ? 2 : 1;
  std::vector<std::string> names = ctx.attr_strings("activations");
  if (names.empty())
    for (size_t d = 0; d < directions; ++d) names.insert(names.end(), defaults.begin(), defaults.end());
  if (names.size() != directions * defaults.size()) ctx.invalid("the number of activations does not fit");
  const std::vector<double> alphas = ctx.attr_floats("activation_alpha"), betas = ctx.attr_floats("activation_beta");
  size_t next_alpha = 0, next_beta = 0;
  for (const std::string& name : names) {
    const Activation& a = find_activation(ctx, name);
    op.activations.push_back(a.function);
    op.alpha.push_back(a.parameters > 0 && next_alpha < alphas.size() ? alphas[next_alpha++] : a.alpha);
    op.beta.push_back(a.parameters > 1 && next_beta < betas.size() ? betas[next_beta++] : a.beta);
  }
}

RnnDirection read_direction(Context& ctx) {
  const std::string name = ctx.attr_string("direction", "forward");
  if (name == "forward") return RnnDirection::forward;
  if (name == "reverse") return RnnDirection::reverse;
  if (name == "bidirectional") return RnnDirection::bidirectional;
  ctx.invalid(fmt::format("there is no direction '{}'", name));
}

// W (operand 1) or R (2) of DynamicQuantizeLSTM in f32: they are bytes and stand the other way round, with a scale and
// a zero point for each direction or for each column.
Value* dequantized_weights(Context& ctx, size_t i) {
  const auto parameter = [&](size_t operand) {
    const Shape& shape = ctx.shape(operand);
    return ctx.reshape(ctx.input(operand), {shape[0], 1, shape.size() > 1 ? shape[1] : Dim(1)});
  };
  const size_t scale = i == 1 ? 8 : 10;
  Value* weights = ctx.map({ctx.input(i), parameter(scale + 1), parameter(scale)}, [](MapProgram& p, const auto& in) {
    const int steps = p.binary(MapOp::sub, p.cast(in[0], DType::i32), p.cast(in[1], DType::i32));
    return p.binary(MapOp::mul, p.cast(steps, DType::f32), in[2]);
  });
  return ctx.transpose(weights, {0, 2, 1});
}

void import_layer(Context& ctx, RnnKind kind, const std::vector<std::string>& defaults, bool quantized = false) {
  Rnn op;
  op.kind = kind;
  op.direction = read_direction(ctx);
  const Dim& hidden = ctx.shape(2).back();
  if (!ctx.has_attr("hidden_size") && !hidden.is_constant()) ctx.unsupported("the hidden size is not known");
  op.hidden = ctx.has_attr("hidden_size") ? ctx.attr_int("hidden_size", 0) : hidden.value();
  op.clip = ctx.attr_float("clip", 0);
  op.linear_before_reset = ctx.attr_bool("linear_before_reset", false);
  op.input_forget = ctx.attr_bool("input_forget", false);
  read_activations(ctx, defaults, op);
  const bool batch_first = ctx.attr_bool("layout", false);
  std::vector<Value*> operands;
  for (size_t i = 0; i < std::min<size_t>(ctx.num_inputs(), kind == RnnKind::lstm ? 8 : 6); ++i) {
    Value* v = quantized && (i == 1 || i == 2) ? dequantized_weights(ctx, i) : ctx.optional_input(i);
    const bool has_batch = i == 0 || i == 5 || i == 6;
    operands.push_back(batch_first && has_batch && v != nullptr ? ctx.transpose(v, {1, 0, 2}) : v);
  }
  size_t outputs = ctx.num_outputs();
  while (outputs > 1 && !ctx.wants_output(outputs - 1)) --outputs;
  Node* node = ctx.append(std::move(op), std::move(operands), outputs);
  for (size_t i = 0; i < outputs; ++i) {
    Value* y = node->output(i);
    if (batch_first) y = ctx.transpose(y, i == 0 ? std::vector<int64_t>{2, 0, 1, 3} : std::vector<int64_t>{1, 0, 2});
    ctx.set_output(i, y);
  }
}

void import_rnn(Context& ctx) { import_layer(ctx, RnnKind::rnn, {"Tanh"}); }
void import_gru(Context& ctx) { import_layer(ctx, RnnKind::gru, {"Sigmoid", "Tanh"}); }
void import_lstm(Context& ctx) { import_layer(ctx, RnnKind::lstm, {"Sigmoid", "Tanh", "Tanh"}); }
void import_dynamic_quantize_lstm(Context& ctx) { import_layer(ctx, RnnKind::lstm, {"Sigmoid", "Tanh", "Tanh"}, true); }

constexpr OpRow kRows[] = {
    {"", "GRU", 1, import_gru},
    {"", "LSTM", 1, import_lstm},
    {"", "RNN", 1, import_rnn},
    {kMicrosoft, "DynamicQuantizeLSTM", 1, import_dynamic_quantize_lstm},
};

}  // namespace

std::span<const OpRow> rnn_ops() { return kRows; }

}  // namespace lathe::onnx
