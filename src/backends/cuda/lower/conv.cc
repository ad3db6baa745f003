// Convolution and transposed convolution by kernels of Lathe's own, in any rank, grouping and layout.
#include <algorithm>

#include "backends/cuda/lower/conv_spec.h"
#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int64_t kTile = 64;  // results of a block of conv.cu, each way

struct ConvState : StepState {
  ConvArgs args{};
  bool vectorises = false;
  std::optional<ProgramMap::Plan> map;
  size_t product_bytes = 0;
};

class ConvStep : public Step {
 public:
  ConvStep(ConvSpec spec, const Node& node, const Target& target)
      : spec_(std::move(spec)),
        x_(node.input(0)->dtype()),
        w_(node.input(1)->dtype()),
        epilogue_(spec_.epilogue, *product_type(x_, w_), node, spec_.view()) {
    depthwise_ = is_depthwise(spec_, node);
    // Several channels at a time, where each has a filter of its own.
    vector_ = depthwise_ && spec_.input_last && spec_.output_last ? std::max(1, 128 / bit_width(x_)) : 1;
    const auto request = [&](const char* file, const char* entry, int vector) {
      const DType product = epilogue_.product();
      const bool wide = product != DType::f16 && product != DType::bf16;
      return &target.kernels.request(
          {file,
           entry,
           {fmt::format("X={}", cuda_type(x_)), fmt::format("W={}", cuda_type(w_)),
            fmt::format("ACC={}", wide ? cuda_type(product) : "float"),
            fmt::format("INPUT_LAST={}", spec_.input_last ? 1 : 0),
            fmt::format("OUTPUT_LAST={}", spec_.output_last ? 1 : 0),
            depthwise_ ? fmt::format("VECTOR={}", vector) : fmt::format("TRANSPOSED={}", spec_.transposed ? 1 : 0)},
           epilogue_.kernel_code()});
    };
    if (depthwise_) {
      kernel_ = request("conv_depthwise.cu", "conv_depthwise", 1);
      if (vector_ > 1) vector_kernel_ = request("conv_depthwise.cu", "conv_depthwise", vector_);
    } else {
      kernel_ = request("conv.cu", "conv", 1);
    }
    if (!epilogue_.fusable()) map_ = epilogue_.make_map(target);
  }

  size_t workspace_bytes(const StepIo& io) const override { return map_ == nullptr ? 0 : epilogue_.product_bytes(io); }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<ConvState>();
    state->args = spec_.args(io);
    state->args.epilogue = epilogue_.kernel_args(io);
    state->vectorises =
        vector_ > 1 && state->args.channels == state->args.filters && state->args.channels % vector_ == 0;
    if (map_ != nullptr) {
      state->map = epilogue_.plan_map(*map_, io);
      state->product_bytes = epilogue_.product_bytes(io);
    }
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void* workspace, DeviceContext& device) const override {
    const auto& state = *static_cast<const ConvState*>(prepared);
    if (io.outputs[0].elements() == 0) return;
    ConvArgs args = state.args;
    args.input = io.inputs[0].data;
    args.weights = io.inputs[1].data;
    args.output = state.product_bytes != 0 ? workspace : io.outputs[0].data;
    if (epilogue_.fusable()) Epilogue::set_addresses(args.epilogue, io);
    const CUstream stream = stream_of(device);
    if (depthwise_) {
      const int64_t threads = args.pixels * (args.filters / (state.vectorises ? vector_ : 1));
      const Grid grid{static_cast<unsigned>(ceil_div(threads, kThreads))};
      (state.vectorises ? vector_kernel_ : kernel_)->launch(stream, grid, kThreads, 0, args);
    } else {
      const Grid grid{static_cast<unsigned>(ceil_div(args.pixels, kTile)),
                      static_cast<unsigned>(ceil_div(args.group_filters, kTile)), static_cast<unsigned>(spec_.groups)};
      kernel_->launch(stream, grid, kThreads, 0, args);
    }
    if (state.map) Epilogue::run_map(*map_, *state.map, args.output, io, stream);
  }

 private:
  // Known while lowering: one input channel per group.
  static bool is_depthwise(const ConvSpec& spec, const Node& node) {
    return !spec.transposed && spec.groups > 1 && node.input(1)->shape()[1] == Dim(1);
  }

  ConvSpec spec_;
  DType x_, w_;
  Epilogue epilogue_;
  bool depthwise_ = false;
  int vector_ = 1;
  const Kernel *kernel_ = nullptr, *vector_kernel_ = nullptr;
  std::unique_ptr<ProgramMap> map_;
};

std::string why_not(const ConvSpec& spec, const Node& node) {
  const DType x = node.input(0)->dtype(), w = node.input(1)->dtype();
  const auto product = product_type(x, w);
  if (!product || cuda_type(*product).empty() || *product == DType::boolean)
    return fmt::format("CUDA kernels do not convolve {} with {}", to_string(x), to_string(w));
  if (spec.spatial() < 1 || spec.spatial() > 3) return "one to three spatial axes only";
  if (spec.groups > 65535) return "too many groups";
  return Epilogue(spec.epilogue, *product, node, spec.view()).why_not();
}

template <class OpT>
Candidates lower_conv(std::string kernel, const OpT& op, const Node& node, const Target& target) {
  if (std::string why = why_not(ConvSpec(op), node); !why.empty()) return {decline(std::move(kernel), std::move(why))};
  return {accept(std::move(kernel), [&op, &node, &target] {
    return Lowered{std::make_unique<ConvStep>(ConvSpec(op), node, target), {}};
  })};
}

}  // namespace

Candidates lower(const lathe::Conv& op, const Node& node, const Target& target) {
  return lower_conv("conv", op, node, target);
}

Candidates lower(const lathe::ConvTranspose& op, const Node& node, const Target& target) {
  return lower_conv("conv_transpose", op, node, target);
}

}  // namespace lathe::cuda
