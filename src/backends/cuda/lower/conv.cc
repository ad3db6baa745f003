// Convolution and transposed convolution: by cuDNN, whose further algorithms are candidates of their own, and by
// kernels of Lathe's own, which serve any rank, grouping, layout and type, and are the only ones where every channel
// has a filter of its own.
#include <algorithm>

#include "backends/cuda/lower/conv_dnn.h"
#include "backends/cuda/program_code.h"
#include "backends/cuda/weight_packing.h"
#include "graph/constant.h"

namespace lathe::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kDnnChoices = 3;  // of the heuristics' algorithms, to be timed
constexpr size_t kAlignment = 256;
constexpr int64_t kTile = 64;  // results of a block of conv.cu, each way

// The kernels for one node: depthwise, or the general one.
class OwnConv {
 public:
  OwnConv(const ConvSpec& spec, const Epilogue& epilogue, DType x, DType w, bool depthwise, const Target& target)
      : depthwise_(depthwise) {
    // Several channels at a time, where each has a filter of its own.
    if (depthwise && spec.input_last && spec.output_last) vector_ = std::max(1, 128 / bit_width(x));
    const auto request = [&](const std::string& entry, std::string variant) {
      const DType product = epilogue.product();
      const bool half = product == DType::f16 || product == DType::bf16;
      return &target.kernels.request({entry + ".cu",
                                      entry,
                                      {fmt::format("X={}", cuda_type(x)), fmt::format("W={}", cuda_type(w)),
                                       fmt::format("ACC={}", half ? "float" : cuda_type(product)),
                                       fmt::format("INPUT_LAST={}", spec.input_last ? 1 : 0),
                                       fmt::format("OUTPUT_LAST={}", spec.output_last ? 1 : 0), std::move(variant)},
                                      epilogue.kernel_code()});
    };
    kernel_ = depthwise ? request("conv_depthwise", "VECTOR=1")
                        : request("conv", fmt::format("TRANSPOSED={}", spec.transposed ? 1 : 0));
    if (vector_ > 1) vector_kernel_ = request("conv_depthwise", fmt::format("VECTOR={}", vector_));
  }

  void run(const ConvArgs& args, CUstream stream) const {
    if (depthwise_) {
      const bool vectorises = vector_ > 1 && args.channels == args.filters && args.filters % vector_ == 0;
      const int64_t threads = args.pixels * (args.filters / (vectorises ? vector_ : 1));
      const Grid grid{static_cast<unsigned>(ceil_div(threads, kThreads))};
      (vectorises ? vector_kernel_ : kernel_)->launch(stream, grid, kThreads, 0, args);
    } else {
      const Grid grid{static_cast<unsigned>(ceil_div(args.pixels, kTile)),
                      static_cast<unsigned>(ceil_div(args.group_filters, kTile)),
                      static_cast<unsigned>(args.channels / args.group_channels)};
      kernel_->launch(stream, grid, kThreads, 0, args);
    }
  }

 private:
  bool depthwise_;
  int vector_ = 1;
  const Kernel *kernel_ = nullptr, *vector_kernel_ = nullptr;
};

// What a candidate uses: Lathe's kernels, or cuDNN's algorithm of that rank.
struct Route {
  std::optional<int> dnn_choice;
  bool packed = false;  // weights are in the layout of channels_last_weights()
};

struct ConvState : StepState {
  ConvArgs args{};
  std::unique_ptr<DnnConvPlan> dnn;
  std::unique_ptr<OwnConv> late_own;  // for sizes that cuDNN declines
  std::optional<ProgramMap::Plan> map;
  size_t product_bytes = 0;  // of the stored product that the map reads, where it has a place of its own
};

class ConvStep : public Step {
 public:
  ConvStep(ConvSpec spec, const Node& node, const Target& target, Route route)
      : spec_(std::move(spec)),
        target_(target),
        route_(route),
        x_(node.input(0)->dtype()),
        w_(node.input(1)->dtype()),
        depthwise_(is_depthwise(spec_, node)),
        epilogue_(spec_.epilogue, *product_type(x_, w_), node, view_of(spec_)) {
    if (route_.dnn_choice)
      dnn_form_ = match_dnn_epilogue(spec_, epilogue_);
    else
      own_.emplace(spec_, epilogue_, x_, w_, depthwise_, target);
    if (!epilogue_.empty() && (route_.dnn_choice ? !dnn_form_ : !epilogue_.fusable()))
      map_ = epilogue_.make_map(target);
  }

  // Known while lowering: one input channel per group.
  static bool is_depthwise(const ConvSpec& spec, const Node& node) {
    return !spec.transposed && spec.groups > 1 && node.input(1)->shape()[1] == Dim(1);
  }

  size_t workspace_bytes(const StepIo& io) const override {
    return product_bytes(io) + (route_.dnn_choice ? kDnnWorkspaceBytes : 0);
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<ConvState>();
    state->args = conv_args(spec_, io, route_.packed);
    state->args.epilogue = epilogue_.kernel_args(io);
    if (io.outputs[0].elements() == 0) return state;
    if (route_.dnn_choice)
      state->dnn = DnnConvPlan::make(*target_.libraries.cudnn(), spec_, state->args, io.inputs[0].dims[0], x_,
                                     target_.tf32, dnn_form_, *route_.dnn_choice);
    if (state->dnn == nullptr && !own_) {
      state->late_own = std::make_unique<OwnConv>(spec_, epilogue_, x_, w_, depthwise_, target_);
      target_.kernels.build();
    }
    // After cuDNN the map computes what it cannot; after the own kernels, what they cannot.
    const bool computed = state->dnn != nullptr ? dnn_form_.has_value() : epilogue_.fusable();
    if (!computed && map_ != nullptr) {
      state->map = epilogue_.plan_map(*map_, io);
      state->product_bytes = product_bytes(io);
    }
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void* workspace, DeviceContext& device) const override {
    const auto& state = *static_cast<const ConvState*>(prepared);
    if (io.outputs[0].elements() == 0) return;
    const CUstream stream = stream_of(device);
    void* product = io.outputs[0].data;
    if (state.product_bytes != 0) {
      product = workspace;
      workspace = static_cast<std::byte*>(workspace) + state.product_bytes;
    }
    if (state.dnn != nullptr) {
      const auto extra = [&](int input) {
        return input < 0 ? nullptr : io.inputs[static_cast<size_t>(input) + 1].data;
      };
      state.dnn->run(io.inputs[0].data, io.inputs[1].data, dnn_form_ ? extra(dnn_form_->bias) : nullptr,
                     dnn_form_ ? extra(dnn_form_->residual) : nullptr, product, workspace, stream);
    } else {
      ConvArgs args = state.args;
      args.input = io.inputs[0].data;
      args.weights = io.inputs[1].data;
      args.output = product;
      if (epilogue_.fusable()) Epilogue::set_addresses(args.epilogue, io);
      (own_ ? *own_ : *state.late_own).run(args, stream);
    }
    if (state.map) Epilogue::run_map(*map_, *state.map, product, io, stream);
  }

 private:
  size_t product_bytes(const StepIo& io) const {
    const size_t bytes = map_ == nullptr ? 0 : epilogue_.product_bytes(io);
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

  ConvSpec spec_;
  const Target& target_;
  Route route_;
  DType x_, w_;
  bool depthwise_;
  Epilogue epilogue_;
  std::optional<LtEpilogue> dnn_form_;
  std::optional<OwnConv> own_;
  std::unique_ptr<ProgramMap> map_;
};

std::string why_not(const ConvSpec& spec, const Node& node) {
  const DType x = node.input(0)->dtype(), w = node.input(1)->dtype();
  const auto product = product_type(x, w);
  if (!product || cuda_type(*product).empty() || *product == DType::boolean)
    return fmt::format("CUDA kernels do not convolve {} with {}", to_string(x), to_string(w));
  if (spec.spatial() < 1 || spec.spatial() > 3) return "one to three spatial axes only";
  if (spec.groups > 65535) return "too many groups";
  return Epilogue(spec.epilogue, *product, node, view_of(spec)).why_not();
}

// cuDNN reads weights as it reads the tensors. Of one tap or one channel, both layouts are the same.
bool must_pack(const ConvSpec& spec, const Node& node) {
  const Shape& w = node.input(1)->shape();
  const bool one_tap = std::all_of(w.begin() + 2, w.end(), [](const Dim& d) { return d == Dim(1); });
  return spec.output_last && !one_tap && w[1] != Dim(1);
}

std::string why_not_dnn(const ConvSpec& spec, const Node& node, const Target& target) {
  if (std::string why = DnnConvPlan::why_not(spec, node); !why.empty()) return why;
  if (ConvStep::is_depthwise(spec, node)) return "every channel has a filter of its own";
  if (must_pack(spec, node) && !is_constant(node.input(1))) return "the weights are computed";
  return target.libraries.cudnn() == nullptr ? "cuDNN is not installed" : "";
}

template <class OpT>
Candidates lower_conv(const std::string& kernel, const OpT& op, const Node& node, const Target& target) {
  const ConvSpec spec(op);
  if (std::string why = why_not(spec, node); !why.empty()) return {decline(kernel, std::move(why))};
  const auto candidate = [&](std::string name, Route route) {
    return accept(std::move(name), [&op, &node, &target, route] {
      Lowered lowered{std::make_unique<ConvStep>(ConvSpec(op), node, target, route), {}};
      if (route.packed) lowered.operand_layouts = {{}, channels_last_weights()};
      return lowered;
    });
  };
  Candidates candidates;
  if (std::string why = why_not_dnn(spec, node, target); !why.empty()) {
    candidates.push_back(decline(kernel + "_dnn_0", std::move(why)));
  } else {
    for (int choice = 0; choice < kDnnChoices; ++choice)
      candidates.push_back(candidate(fmt::format("{}_dnn_{}", kernel, choice), {choice, must_pack(spec, node)}));
  }
  candidates.push_back(candidate(kernel, {}));
  return candidates;
}

}  // namespace

Candidates lower(const lathe::Conv& op, const Node& node, const Target& target) {
  if (op.pad_value != 0) return {decline("conv", "it pads with a number other than zero")};
  return lower_conv("conv", op, node, target);
}

Candidates lower(const lathe::ConvTranspose& op, const Node& node, const Target& target) {
  return lower_conv("conv_transpose", op, node, target);
}

}  // namespace lathe::cuda
