// Convolution of bytes, channels-last: the layout pass gives it such tensors.
#include "backends/cpu/kernels/conv_int8.h"

#include "backends/conv_spec.h"
#include "backends/cpu/lower/matmul_int8.h"
#include "backends/cpu/packing.h"

namespace lathe::cpu {
namespace {

Extent extent_over(const Shape& extra, const Shape& out) {
  if (product(extra) == Dim(1)) return Extent::scalar;
  if (is_row(extra, std::span(out).last(1))) return Extent::column;
  return extra == out ? Extent::tensor : Extent::unknown;
}

struct ConvInt8State : StepState {
  ConvShape shape;
  Int8Finisher::State epilogue;
};

class ConvInt8Step : public Step {
 public:
  ConvInt8Step(const lathe::Conv& op, const Node& node, const Target& target)
      : spec_(op),
        pad_value_(static_cast<int>(op.pad_value)),
        input_signed_(node.input(0)->dtype() == DType::i8),
        kernels_(target.kernels),
        tiles_(target.int8_tiles),
        finisher_(
            op.epilogue,
            [&node](int i) {
              return extent_over(node.input(static_cast<size_t>(i) + 1)->shape(), node.output()->shape());
            },
            target.kernels.map) {}

  size_t workspace_bytes(const StepIo& io) const override {
    Workspace workspace;
    const ConvShape shape = spec_.shape(io);
    finisher_.cut(workspace, io, pixels(shape), shape.out_channels);
    workspace.take(conv_int8_workspace_bytes(kernels_, shape, args(io), io.threads));
    return workspace.used();
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<ConvInt8State>();
    state->shape = spec_.shape(io);
    state->epilogue = finisher_.prepare(io, pixels(state->shape), state->shape.out_channels);
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void* memory, DeviceContext& device) const override {
    const auto& state = *static_cast<const ConvInt8State*>(prepared);
    if (io.outputs[0].elements() == 0) return;
    const int64_t rows = pixels(state.shape), columns = state.shape.out_channels;
    Workspace workspace(memory);
    const Int8Finisher::Memory parts = finisher_.cut(workspace, io, rows, columns);
    ConvInt8Args conv = args(io);
    conv.workspace = workspace.take(conv_int8_workspace_bytes(kernels_, state.shape, conv, io.threads));
    conv.epilogue = finisher_.begin(io, state.epilogue, parts, rows, columns);
    conv_int8(team_of(device), kernels_, state.shape, conv);
    finisher_.end(io, state.epilogue, parts, team_of(device));
  }

 private:
  static int64_t pixels(const ConvShape& s) { return s.batch * s.output[0] * s.output[1] * s.output[2]; }

  ConvInt8Args args(const StepIo& io) const {
    ConvInt8Args args;
    args.input = io.inputs[0].data;
    args.input_signed = input_signed_;
    args.pad_value = pad_value_;
    args.weights = io.inputs[1].data;
    args.tiles = tiles_;
    return args;
  }

  ConvSpec spec_;
  int pad_value_;
  bool input_signed_;
  const KernelTable& kernels_;
  const AmxInt8Kernels* tiles_;
  Int8Finisher finisher_;
};

// Groups of one channel each take the depthwise kernel, if they are on a plane.
bool may_be_depthwise(const lathe::Conv& op, const Node& node) {
  return op.groups > 1 && node.input(1)->shape()[1] == Dim(1);
}

std::string why_not(const lathe::Conv& op, const Node& node, const MapKernels& kernels) {
  if (std::string why = Int8Finisher::why_not(op.epilogue, kernels); !why.empty()) return why;
  if (!op.channels_last || op.channels_first_input) return "the tensors are not channels-last";
  if (op.strides.size() > 3) return "more than three spatial axes";
  if (!is_constant(node.input(1))) return "the weights are not constant";
  if (node.input(1)->dtype() != DType::i8) return "the weights are unsigned";
  if (!may_be_depthwise(op, node)) return "";
  int64_t taps = 1;
  for (size_t axis = 2; axis < node.input(1)->shape().size(); ++axis) taps *= node.input(1)->shape()[axis].value();
  return op.strides.size() > 2 || taps > kConvInt8MaxDepthwiseTaps ? "a depthwise convolution of this kind" : "";
}

}  // namespace

Candidates lower_int8(const lathe::Conv& op, const Node& node, const Target& target) {
  if (std::string why = why_not(op, node, target.kernels.map); !why.empty()) return {decline("conv_int8", why)};
  return {accept("conv_int8", [&op, &node, target] {
    const KernelTable& kernels = target.kernels;
    Lowered lowered = plain_step<ConvInt8Step>(op, node, target);
    lowered.operand_layouts = {{},
                               may_be_depthwise(op, node) ? conv_panels(conv_vec_width(kernels), op.groups, false)
                                                          : conv_int8_panels(kernels.int8.nr, op.groups)};
    return lowered;
  })};
}

}  // namespace lathe::cpu
