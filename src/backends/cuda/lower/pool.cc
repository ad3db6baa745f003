// Pooling in any rank and layout.
#include "backends/cuda/kernels/pool_args.h"
#include "backends/cuda/lower/lower.h"
#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int64_t kMaxIndex32 = int64_t{1} << 31;

struct PoolState : StepState {
  PoolArgs args{};
  const Kernel* kernel = nullptr;
};

class PoolStep : public Step {
 public:
  PoolStep(const lathe::Pool& op, const Node& node, const Target& target)
      : op_(op),
        type_(node.input(0)->dtype()),
        target_(target),
        vector_(op.channels_last ? 128 / bit_width(type_) : 1) {
    vector_kernel_ = request(vector_, "u32");
    scalar_kernel_ = request(1, "u32");
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<PoolState>();
    PoolArgs& args = state->args;
    const auto &x = io.inputs[0].dims, &y = io.outputs[0].dims;
    const size_t spatial = op_.kernel.size(), first = op_.channels_last ? 1 : 2;
    args.channels = op_.channels_last ? x[spatial + 1] : 1;
    for (int axis = 0; axis < 3; ++axis)
      args.in[axis] = args.out[axis] = args.kernel[axis] = args.stride[axis] = args.dilation[axis] = 1;
    for (size_t i = 0; i < spatial; ++i) {
      const size_t axis = 3 - spatial + i;
      args.in[axis] = static_cast<int>(x[first + i]);
      args.out[axis] = static_cast<int>(y[first + i]);
      args.kernel[axis] = static_cast<int>(op_.kernel[i]);
      args.stride[axis] = static_cast<int>(op_.strides[i]);
      args.dilation[axis] = static_cast<int>(op_.dilations[i]);
      args.pad[axis] = static_cast<int>(io.symbols->evaluate(op_.pads[i]));
      args.pad_end[axis] = static_cast<int>(io.symbols->evaluate(op_.pads[spatial + i]));
    }
    args.include_pad = op_.count_include_pad ? 1 : 0;
    args.column_major = op_.column_major_indices ? 1 : 0;
    const bool vectorises = args.channels % vector_ == 0;
    const int64_t elements = io.outputs[0].elements();
    state->kernel = vectorises ? vector_kernel_ : scalar_kernel_;
    if (std::max(elements, io.inputs[0].elements()) >= kMaxIndex32) {
      state->kernel = request(vectorises ? vector_ : 1, "u64");
      target_.kernels.build();
    }
    args.packs = static_cast<unsigned long long>(elements / (vectorises ? vector_ : 1));
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const PoolState*>(prepared);
    PoolArgs args = state.args;
    if (args.packs == 0) return;
    args.input = io.inputs[0].data;
    args.output = io.outputs[0].data;
    if (io.outputs.size() > 1) args.indices = io.outputs[1].as<long long>();
    const auto blocks = static_cast<unsigned>(ceil_div(static_cast<int64_t>(args.packs), kThreads));
    state.kernel->launch(stream_of(device), {blocks}, kThreads, 0, args);
  }

 private:
  const Kernel* request(int64_t vector, std::string_view index) const {
    return &target_.kernels.request(
        {"pool.cu",
         "pool",
         {fmt::format("KIND={}", static_cast<int>(op_.kind)), fmt::format("LP={}", op_.p),
          fmt::format("TYPE={}", cuda_type(type_)), fmt::format("WIDE={}", wide_type(type_)),
          fmt::format("INDEX={}", index), fmt::format("VECTOR={}", vector),
          fmt::format("CHANNELS_LAST={}", op_.channels_last ? 1 : 0)},
         {}});
  }

  const lathe::Pool& op_;
  DType type_;
  const Target& target_;
  int64_t vector_;
  const Kernel *vector_kernel_, *scalar_kernel_;
};

std::string why_not(const lathe::Pool& op, const Node& node) {
  const DType type = node.input(0)->dtype();
  if (cuda_type(type).empty() || type == DType::boolean) return "no pooling of " + std::string(to_string(type));
  if (op.kind != PoolKind::max && !computes_as_float(type)) return "averages of floats only";
  if (op.kernel.empty() || op.kernel.size() > 3) return "one to three spatial axes only";
  if (node.input(0)->shape().size() != op.kernel.size() + 2) return "the window has another rank than the tensor";
  return op.channels_last && node.outputs().size() > 1 ? "no indices channels-last" : "";
}

}  // namespace

Candidates lower(const lathe::Pool& op, const Node& node, const Target& target) {
  if (std::string why = why_not(op, node); !why.empty()) return {decline("pool", std::move(why))};
  return {accept_step<PoolStep>("pool", op, node, target)};
}

}  // namespace lathe::cuda
