// Recurrent layers: the input's part of the gates of all steps is one matrix product; then one launch per step (two for
// a gru that resets before the product). Nothing waits for the device, so that a graph replays all steps at once.
#include "backends/cuda/kernels/rnn_args.h"
#include "backends/cuda/lower/lower.h"
#include "backends/cuda/program_code.h"
#include "base/error.h"

namespace lathe::cuda {
namespace {

constexpr unsigned kStateThreads = 256;

int64_t gate_count(RnnKind kind) { return kind == RnnKind::rnn ? 1 : kind == RnnKind::gru ? 3 : 4; }
size_t activation_count(RnnKind kind) { return kind == RnnKind::rnn ? 1 : kind == RnnKind::gru ? 2 : 3; }
std::string_view cell_name(RnnKind kind) {
  return kind == RnnKind::rnn ? "rnn" : kind == RnnKind::gru ? "gru" : "lstm";
}

// Sizes of a layer, and where in the workspace its parts lie, in bytes.
struct RnnState : StepState {
  int64_t steps = 0, batch = 0, input = 0, directions = 1, states = 0;
  size_t gates = 0, h[2] = {}, c = 0, update = 0, gated = 0, end = 0;
};

const void* data_of(std::span<const TensorRef> refs, size_t i) {
  return i < refs.size() && refs[i].present ? refs[i].data : nullptr;
}

class RnnStep : public Step {
 public:
  RnnStep(const lathe::Rnn& op, const Node& node, const Target& target) : op_(op), gates_(gate_count(op.kind)) {
    const DType type = node.output()->dtype();
    acc_bytes_ = type == DType::f64 ? 8 : 4;
    const auto kernel = [&](const char* name, std::vector<std::string> defines) {
      defines.push_back(fmt::format("TYPE={}", cuda_type(type)));
      defines.emplace_back(type == DType::f64 ? "ACC=double" : "ACC=float");
      return &target.kernels.request({fmt::format("{}.cu", name), name, std::move(defines), {}});
    };
    project_ = kernel("rnn_project", {});
    load_ = kernel("rnn_state", {"LOAD=1"});
    store_ = kernel("rnn_state", {"LOAD=0"});
    step_ = kernel("rnn_step", {fmt::format("CELL={}", cell_name(op.kind))});
  }

  size_t workspace_bytes(const StepIo& io) const override { return plan(io).end; }
  std::unique_ptr<StepState> prepare(const StepIo& io) const override { return std::make_unique<RnnState>(plan(io)); }

  void run(const StepIo& io, const StepState* prepared, void* workspace, DeviceContext& device) const override {
    const auto& state = *static_cast<const RnnState*>(prepared);
    auto* memory = static_cast<std::byte*>(workspace);
    const CUstream stream = stream_of(device);
    if (state.states == 0) return;
    project(io, state, memory, stream);
    convert(*load_, data_of(io.inputs, 5), memory + state.h[0], state, stream);
    if (op_.kind == RnnKind::lstm) convert(*load_, data_of(io.inputs, 6), memory + state.c, state, stream);
    run_steps(io, state, memory, stream);
    const auto store = [&](size_t output, const std::byte* from) {
      const void* to = data_of(io.outputs, output);
      if (to != nullptr) convert(*store_, from, const_cast<void*>(to), state, stream);
    };
    store(1, memory + state.h[state.steps % 2]);
    if (op_.kind == RnnKind::lstm) store(2, memory + state.c);
  }

 private:
  RnnState plan(const StepIo& io) const {
    const auto& x = io.inputs[0].dims;
    RnnState state;
    state.steps = x[0], state.batch = x[1], state.input = x[2];
    state.directions = op_.direction == RnnDirection::bidirectional ? 2 : 1;
    state.states = state.directions * state.batch * op_.hidden;
    const auto take = [&](int64_t count) {
      const size_t at = state.end;
      state.end += (static_cast<size_t>(count) * acc_bytes_ + 255) / 256 * 256;
      return at;
    };
    state.gates = take(state.steps * state.states * gates_);
    for (size_t& h : state.h) h = take(state.states);
    if (op_.kind == RnnKind::lstm) state.c = take(state.states);
    if (resets_first()) {
      state.update = take(state.states);
      state.gated = take(state.states);
    }
    return state;
  }

  bool resets_first() const { return op_.kind == RnnKind::gru && !op_.linear_before_reset; }

  void project(const StepIo& io, const RnnState& state, std::byte* memory, CUstream stream) const {
    RnnProjectArgs args{};
    args.x = io.inputs[0].data;
    args.w = io.inputs[1].data;
    args.bias = data_of(io.inputs, 3);
    args.gates = memory + state.gates;
    args.rows = state.steps * state.batch;
    args.columns = gates_ * op_.hidden;
    args.depth = state.input;
    // A gru that resets after the product resets the state's bias too: the step adds that one.
    const bool separate = op_.kind == RnnKind::gru && op_.linear_before_reset;
    args.state_biases = separate ? 2 * op_.hidden : args.columns;
    if (args.rows == 0) return;
    const Grid grid{static_cast<unsigned>(ceil_div(args.rows, kRnnTile)),
                    static_cast<unsigned>(ceil_div(args.columns, kRnnTile)), static_cast<unsigned>(state.directions)};
    project_->launch(stream, grid, kRnnProjectThreads, 0, args);
  }

  static void convert(const Kernel& kernel, const void* from, void* to, const RnnState& state, CUstream stream) {
    const auto blocks = static_cast<unsigned>(ceil_div(state.states, kStateThreads));
    kernel.launch(stream, {blocks}, kStateThreads, 0, RnnStateArgs{from, to, state.states});
  }

  RnnStepArgs step_args(const StepIo& io, const RnnState& state, std::byte* memory) const {
    RnnStepArgs args{};
    args.gates = memory + state.gates;
    args.r = io.inputs[2].data;
    args.bias = data_of(io.inputs, 3);
    args.lengths = data_of(io.inputs, 4);
    args.wide_lengths = args.lengths != nullptr && io.inputs[4].dtype == DType::i64;
    args.peepholes = data_of(io.inputs, 7);
    args.c = memory + state.c;
    args.update = memory + state.update;
    args.gated = memory + state.gated;
    args.y = const_cast<void*>(data_of(io.outputs, 0));
    args.steps = state.steps;
    args.batch = state.batch;
    args.hidden = op_.hidden;
    args.directions = static_cast<int>(state.directions);
    args.reverse = op_.direction == RnnDirection::reverse;
    args.linear_before_reset = op_.linear_before_reset;
    args.input_forget = op_.input_forget;
    args.clip = op_.clip;
    const size_t count = activation_count(op_.kind);
    for (size_t i = 0; i < op_.activations.size(); ++i)
      args.activations[i / count][i % count] = {static_cast<int>(op_.activations[i]),
                                                i < op_.alpha.size() ? op_.alpha[i] : 0,
                                                i < op_.beta.size() ? op_.beta[i] : 0};
    return args;
  }

  void run_steps(const StepIo& io, const RnnState& state, std::byte* memory, CUstream stream) const {
    RnnStepArgs args = step_args(io, state, memory);
    const Grid grid{static_cast<unsigned>(ceil_div(op_.hidden, kRnnWarps)),
                    static_cast<unsigned>(ceil_div(state.batch, kRnnBatch)), static_cast<unsigned>(state.directions)};
    for (args.step = 0; args.step < state.steps; ++args.step) {
      args.h_in = memory + state.h[args.step % 2];
      args.h_out = memory + state.h[(args.step + 1) % 2];
      for (args.phase = resets_first() ? 0 : 1; args.phase < 2; ++args.phase)
        step_->launch(stream, grid, kRnnWarps * 32, 0, args);
    }
  }

  lathe::Rnn op_;
  int64_t gates_;
  size_t acc_bytes_;
  const Kernel *project_, *load_, *store_, *step_;
};

std::string why_not(const lathe::Rnn& op, const Node& node) {
  const DType type = node.output()->dtype();
  if (!is_float(type) || cuda_type(type).empty())
    return fmt::format("CUDA kernels do not compute with {}", to_string(type));
  const size_t directions = op.direction == RnnDirection::bidirectional ? 2 : 1;
  if (op.activations.size() != directions * activation_count(op.kind)) return "the activations do not fit the cell";
  if (node.inputs().size() > 4 && node.input(4) != nullptr && node.input(4)->dtype() != DType::i32 &&
      node.input(4)->dtype() != DType::i64)
    return fmt::format("lengths are {}, not i32 or i64", to_string(node.input(4)->dtype()));
  return {};
}

}  // namespace

Candidates lower(const lathe::Rnn& op, const Node& node, const Target& target) {
  if (std::string why = why_not(op, node); !why.empty()) return {decline("rnn", std::move(why))};
  return {accept_step<RnnStep>("rnn", op, node, target)};
}

}  // namespace lathe::cuda
