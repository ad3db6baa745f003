// Convolution and transposed convolution. The kernel works channels-last. Nodes that the layout pass left
// channels-first get their result transposed here, and their input too, unless the kernel can read it as it is.
#include "backends/cpu/kernels/conv.h"
#include "backends/conv_spec.h"
#include "backends/cpu/kernels/copy.h"
#include "backends/cpu/lower/epilogue.h"
#include "backends/cpu/lower/lower.h"
#include "backends/cpu/lower/map_step.h"
#include "backends/cpu/lower/matmul_int8.h"
#include "backends/cpu/packing.h"

namespace lathe::cpu {
namespace {

int64_t volume(const Size3& size) { return size[0] * size[1] * size[2]; }

struct ConvState : StepState {
  ConvShape shape;
  std::unique_ptr<MapState> epilogue;
};

class ConvStep : public Step {
 public:
  ConvStep(ConvSpec spec, const Node& node, const KernelTable& kernels)
      : spec_(std::move(spec)), packed_weights_(is_constant(node.input(1))), kernels_(kernels) {
    const auto kind_of = [&](int i) {
      return kind_of_extra(node.input(static_cast<size_t>(i) + 1)->shape(), node.output()->shape());
    };
    const auto match = match_epilogue(spec_.epilogue, kind_of);
    if (match && match->alpha == 1)
      form_ = *match;
    else
      program_ = std::make_unique<MapCode>(spec_.epilogue, kernels.map);
  }

  size_t workspace_bytes(const StepIo& io) const override {
    Workspace workspace;
    const ConvShape shape = spec_.shape(io);
    cut(workspace, shape, io.threads);
    return workspace.used();
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<ConvState>();
    state->shape = spec_.shape(io);
    if (program_ == nullptr) return state;
    std::vector<std::span<const int64_t>> dims = {io.outputs[0].dims};
    for (size_t i = 2; i < io.inputs.size(); ++i) dims.push_back(io.inputs[i].dims);
    state->epilogue = std::make_unique<MapState>(*program_, dims, io.outputs[0].dims, *io.symbols);
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void* memory, DeviceContext& device) const override {
    const auto& state = *static_cast<const ConvState*>(prepared);
    const ConvShape& shape = state.shape;
    if (io.outputs[0].elements() == 0) return;
    ThreadTeam& team = team_of(device);
    Workspace workspace(memory);
    const Parts parts = cut(workspace, shape, io.threads);
    ConvArgs args;
    args.input = io.inputs[0].as<const float>();
    args.input_nchw = reads_channels_first(shape);
    if (parts.input != nullptr) {
      nchw_to_nhwc(team, kernels_, shape.batch, shape.in_channels, volume(shape.input), args.input, parts.input,
                   shape.in_channels);
      args.input = parts.input;
    }
    args.weights = io.inputs[1].as<const float>();
    if (parts.weights != nullptr) {
      conv_pack_weights(shape, conv_vec_width(kernels_), args.weights, parts.weights);
      args.weights = parts.weights;
    }
    auto* out = io.outputs[0].as<float>();
    args.output = parts.output != nullptr ? parts.output : out;
    args.epilogue = kernel_epilogue(io);
    args.workspace = parts.kernel;
    conv(team, kernels_, shape, args);
    if (parts.output != nullptr)
      nhwc_to_nchw(team, kernels_, shape.batch, shape.out_channels, volume(shape.output), parts.output,
                   shape.out_channels, out);
    if (program_ != nullptr) run_epilogue(io, *state.epilogue, parts.map, team);
  }

 private:
  // Null where a part is not needed.
  struct Parts {
    float *weights = nullptr, *input = nullptr, *output = nullptr;
    std::byte *kernel = nullptr, *map = nullptr;
  };

  bool reads_channels_first(const ConvShape& shape) const {
    return !spec_.input_last && !shape.transposed && shape.groups == 1 &&
           conv_algorithm(shape) == ConvAlgorithm::direct;
  }

  Parts cut(Workspace& workspace, const ConvShape& shape, int threads) const {
    Parts parts;
    const bool nchw = reads_channels_first(shape);
    if (!packed_weights_) parts.weights = workspace.floats(conv_packed_size(shape, conv_vec_width(kernels_)));
    if (!spec_.input_last && !nchw)
      parts.input = workspace.floats(shape.batch * shape.in_channels * volume(shape.input));
    if (!spec_.output_last) parts.output = workspace.floats(shape.batch * shape.out_channels * volume(shape.output));
    parts.kernel = workspace.take(conv_workspace_bytes(kernels_, shape, nchw, threads));
    if (program_ != nullptr) parts.map = workspace.take(static_cast<size_t>(threads) * program_->scratch_bytes());
    return parts;
  }

  // A residual is added while storing, so it must be laid out as the kernel stores.
  ExtraKind kind_of_extra(const Shape& extra, const Shape& out) const {
    if (extra == out) return spec_.output_last ? ExtraKind::residual : ExtraKind::other;
    const std::span<const Dim> channel = std::span(out).subspan(spec_.output_last ? out.size() - 1 : 1, 1);
    Shape bias(channel.begin(), channel.end());
    if (!spec_.output_last) bias.resize(out.size() - 1, Dim(1));
    return is_row(extra, bias) ? ExtraKind::bias : ExtraKind::other;
  }

  ConvEpilogue kernel_epilogue(const StepIo& io) const {
    ConvEpilogue e;
    if (form_.bias >= 0) e.bias = io.inputs[static_cast<size_t>(form_.bias) + 1].as<const float>();
    if (form_.residual >= 0) e.residual = io.inputs[static_cast<size_t>(form_.residual) + 1].as<const float>();
    e.residual_after_activation = form_.residual_after_activation;
    e.activation = form_.activation;
    return e;
  }

  void run_epilogue(const StepIo& io, const MapState& state, void* scratch, ThreadTeam& team) const {
    const void* inputs[kMaxMapInputs] = {io.outputs[0].data};
    for (size_t i = 2; i < io.inputs.size(); ++i) inputs[i - 1] = io.inputs[i].data;
    state.plan.run(team, {inputs, io.inputs.size() - 1}, io.outputs[0].data, scratch);
  }

  ConvSpec spec_;
  bool packed_weights_;
  const KernelTable& kernels_;
  EpilogueForm form_;
  std::unique_ptr<MapCode> program_;  // set when the form cannot say it
};

std::string why_not(const ConvSpec& spec, const Node& node, const MapKernels& kernels) {
  for (const Value* value : {node.input(0), node.input(1), node.output()}) {
    const bool packed_wide = value == node.input(1) && is_half(value->dtype()) && is_constant(value);
    if (value->dtype() != DType::f32 && !packed_wide) return "computes in f32 only, not " + to_string(value->type());
  }
  if (spec.strides.size() > 3) return "more than three spatial axes";
  if (node.inputs().size() > kMaxMapInputs) return "too many inputs";
  return spec.epilogue.empty() ? std::string() : MapCode::why_unsupported(spec.epilogue, kernels);
}

template <class OpT>
Candidates lower_conv(std::string kernel, const OpT& op, const Node& node, const KernelTable& kernels) {
  ConvSpec spec(op);
  if (std::string why = why_not(spec, node, kernels.map); !why.empty())
    return {decline(std::move(kernel), std::move(why))};
  return {accept(std::move(kernel), [spec, &node, &kernels] {
    Lowered lowered = plain_step<ConvStep>(spec, node, kernels);
    if (is_constant(node.input(1)))
      lowered.operand_layouts = {{}, conv_panels(conv_vec_width(kernels), spec.groups, spec.transposed)};
    return lowered;
  })};
}

}  // namespace

Candidates lower(const lathe::Conv& op, const Node& node, const Target& target) {
  if (multiplies_bytes(node)) return lower_int8(op, node, target);
  if (op.pad_value != 0) return {decline("conv", "pads with zeros only")};
  return lower_conv("conv", op, node, target.kernels);
}

Candidates lower(const lathe::ConvTranspose& op, const Node& node, const Target& target) {
  return lower_conv("conv_transpose", op, node, target.kernels);
}

}  // namespace lathe::cpu
