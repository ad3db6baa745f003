// Recurrent layers. Constant weights are packed at build time; others, as in the body of a loop, in each run.
#include "backends/cpu/kernels/rnn.h"

#include <algorithm>
#include <optional>

#include "backends/cpu/kernels/gemm_kernels.h"
#include "backends/cpu/lower/lower.h"
#include "backends/cpu/packing.h"
#include "base/error.h"

namespace lathe::cpu {
namespace {

// Operands.
constexpr size_t kX = 0, kW = 1, kR = 2, kBias = 3, kLengths = 4, kH = 5, kC = 6, kPeepholes = 7;

std::optional<RnnFunctionKind> kernel_function(RnnActivation activation) {
  switch (activation) {
    case RnnActivation::relu: return RnnFunctionKind::relu;
    case RnnActivation::tanh: return RnnFunctionKind::tanh;
    case RnnActivation::sigmoid: return RnnFunctionKind::sigmoid;
    case RnnActivation::affine: return RnnFunctionKind::affine;
    case RnnActivation::leaky_relu: return RnnFunctionKind::leaky_relu;
    case RnnActivation::thresholded_relu: return RnnFunctionKind::thresholded_relu;
    case RnnActivation::scaled_tanh: return RnnFunctionKind::scaled_tanh;
    case RnnActivation::hard_sigmoid: return RnnFunctionKind::hard_sigmoid;
    case RnnActivation::elu: return RnnFunctionKind::elu;
    case RnnActivation::softsign: return RnnFunctionKind::softsign;
    case RnnActivation::softplus: break;
  }
  return std::nullopt;
}

RnnCellKind kernel_kind(const lathe::Rnn& op) {
  switch (op.kind) {
    case RnnKind::rnn: return RnnCellKind::rnn;
    case RnnKind::gru: return op.linear_before_reset ? RnnCellKind::gru_linear : RnnCellKind::gru;
    case RnnKind::lstm: break;
  }
  return RnnCellKind::lstm;
}

class RnnStep : public Step {
 public:
  RnnStep(const lathe::Rnn& op, const Node& node, const KernelTable& kernels)
      : kernels_(kernels), packed_w_(is_constant(node.input(kW))), packed_r_(is_constant(node.input(kR))) {
    shape_.kind = kernel_kind(op);
    shape_.hidden = op.hidden;
    shape_.directions = op.direction == RnnDirection::bidirectional ? 2 : 1;
    shape_.reverse = op.direction == RnnDirection::reverse;
    const size_t per_direction = op.activations.size() / static_cast<size_t>(shape_.directions);
    for (size_t i = 0; i < op.activations.size(); ++i)
      settings_.functions[i / per_direction][i % per_direction] = {
          *kernel_function(op.activations[i]), static_cast<float>(op.alpha[i]), static_cast<float>(op.beta[i])};
    if (op.clip > 0) settings_.clip = static_cast<float>(op.clip);
    settings_.input_forget = op.input_forget;
  }

  size_t workspace_bytes(const StepIo& io) const override {
    Workspace workspace;
    cut(workspace, shape_of(io), io.threads);
    return workspace.used();
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    const RnnShape s = shape_of(io);
    const int64_t rows = s.gates() * s.hidden;
    check_sizes(io, kW, {s.directions, rows, s.input});
    check_sizes(io, kR, {s.directions, rows, s.hidden});
    check_sizes(io, kBias, {s.directions, 2 * rows});
    check_sizes(io, kLengths, {s.batch});
    check_sizes(io, kH, {s.directions, s.batch, s.hidden});
    check_sizes(io, kC, {s.directions, s.batch, s.hidden});
    check_sizes(io, kPeepholes, {s.directions, 3 * s.hidden});
    return nullptr;
  }

  void run(const StepIo& io, const StepState*, void* memory, DeviceContext& device) const override {
    const RnnShape shape = shape_of(io);
    Workspace workspace(memory);
    const Parts parts = cut(workspace, shape, io.threads);
    const auto floats = [&](size_t i) -> const float* { return has(io, i) ? io.inputs[i].as<const float>() : nullptr; };
    RnnArgs args = settings_;
    args.x = floats(kX);
    args.w = packed(shape, floats(kW), shape.input, parts.w);
    args.r = packed(shape, floats(kR), shape.hidden, parts.r);
    args.bias = floats(kBias);
    if (has(io, kLengths)) args.lengths = lengths(io.inputs[kLengths], shape);
    args.h = floats(kH);
    args.c = floats(kC);
    args.peepholes = floats(kPeepholes);
    args.y = io.outputs[0].as<float>();
    args.y_h = io.outputs[1].as<float>();
    if (io.outputs.size() > 2) args.y_c = io.outputs[2].as<float>();
    args.workspace = parts.kernel;
    rnn(team_of(device), kernels_, shape, args);
  }

 private:
  // Null where weights come packed.
  struct Parts {
    float *w = nullptr, *r = nullptr;
    std::byte* kernel = nullptr;
  };

  static bool has(const StepIo& io, size_t operand) { return operand < io.inputs.size() && io.inputs[operand].present; }

  static void check_sizes(const StepIo& io, size_t operand, std::initializer_list<int64_t> sizes) {
    if (!has(io, operand)) return;
    const auto& dims = io.inputs[operand].dims;
    if (!std::equal(sizes.begin(), sizes.end(), dims.begin(), dims.end()))
      fail(ErrorCode::invalid_argument, "operand {} has shape {}, expected {}", operand, to_string(dims),
           to_string(std::span(sizes.begin(), sizes.size())));
  }

  RnnShape shape_of(const StepIo& io) const {
    const auto& x = io.inputs[kX].dims;
    RnnShape shape = shape_;
    shape.steps = x[0];
    shape.batch = x[1];
    shape.input = x[2];
    return shape;
  }

  Parts cut(Workspace& workspace, const RnnShape& s, int threads) const {
    const int nr = kernels_.gemm.nr;
    const int64_t gates = s.directions * s.gates();
    Parts parts;
    if (!packed_w_) parts.w = workspace.floats(gate_panel_floats(nr, gates, s.hidden, s.input));
    if (!packed_r_) parts.r = workspace.floats(gate_panel_floats(nr, gates, s.hidden, s.hidden));
    parts.kernel = workspace.take(rnn_workspace_bytes(kernels_, s, threads));
    return parts;
  }

  const float* packed(const RnnShape& s, const float* weights, int64_t k, float* memory) const {
    if (memory == nullptr) return weights;
    pack_gate_panels(kernels_.gemm.nr, s.directions * s.gates(), s.hidden, k, weights, DType::f32, memory);
    return memory;
  }

  static IndexTensor lengths(const TensorRef& tensor, const RnnShape& shape) {
    const IndexTensor lengths{tensor.data, tensor.dtype == DType::i64};
    for (int64_t b = 0; b < shape.batch; ++b)
      if (lengths.at(b) < 0 || lengths.at(b) > shape.steps)
        fail(ErrorCode::invalid_argument, "sequence {} has length {}, of {} steps", b, lengths.at(b), shape.steps);
    return lengths;
  }

  const KernelTable& kernels_;
  bool packed_w_, packed_r_;
  RnnShape shape_;    // without the sizes of x
  RnnArgs settings_;  // without pointers
};

std::string why_not(const lathe::Rnn& op, const Node& node) {
  for (const Value* value : {node.input(kX), node.input(kW), node.input(kR)})
    if (value->dtype() != DType::f32) return "computes in f32 only, not " + to_string(value->type());
  for (const RnnActivation activation : op.activations)
    if (!kernel_function(activation)) return "an activation is softplus";
  return {};
}

}  // namespace

Candidates lower(const lathe::Rnn& op, const Node& node, const Target& target) {
  if (std::string why = why_not(op, node); !why.empty()) return {decline("rnn", std::move(why))};
  return {accept("rnn", [&op, &node, &kernels = target.kernels] {
    Lowered lowered = plain_step<RnnStep>(op, node, kernels);
    const WeightLayout panels = gate_panels(kernels.gemm.nr, RnnShape{kernel_kind(op)}.gates());
    lowered.operand_layouts.resize(kR + 1);
    for (const size_t i : {kW, kR})
      if (is_constant(node.input(i))) lowered.operand_layouts[i] = panels;
    return lowered;
  })};
}

}  // namespace lathe::cpu
