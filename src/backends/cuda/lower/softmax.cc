// Softmax: rows along the last axis, columns along any other.
#include "backends/cuda/kernels/row_args.h"
#include "backends/cuda/lower/rows.h"
#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

constexpr unsigned kColumnThreads = 256, kColumnsPerBlock = 32;  // of softmax_column.cu

struct SoftmaxState : StepState {
  SoftmaxArgs args{};
  const Kernel* kernel = nullptr;
  unsigned blocks = 0, threads = 0;
};

std::vector<std::string> defines_of(const lathe::Softmax& op, DType type) {
  return {fmt::format("ELEMENT={}", cuda_type(type)), fmt::format("WIDE={}", wide_type(type)),
          fmt::format("LOG={}", static_cast<int>(op.log)), fmt::format("SAFE={}", static_cast<int>(op.safe))};
}

class SoftmaxStep : public Step {
 public:
  SoftmaxStep(const lathe::Softmax& op, const Node& node, const Target& target) : axis_(static_cast<size_t>(op.axis)) {
    const Shape& shape = node.output()->shape();
    const std::vector<std::string> defines = defines_of(op, node.output()->dtype());
    vector_ = pack_of(node.output()->dtype());
    if (axis_ + 1 == shape.size())
      rows_.emplace(KernelSpec{"softmax.cu", "softmax", defines, {}}, shape[axis_], vector_, target);
    else
      columns_ = &target.kernels.request({"softmax_column.cu", "softmax_column", defines, {}});
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<SoftmaxState>();
    SoftmaxArgs& args = state->args;
    const auto dims = io.outputs[0].dims;
    args.rows = args.inner = 1;
    for (size_t i = 0; i < axis_; ++i) args.rows *= dims[i];
    args.width = dims[axis_];
    for (size_t i = axis_ + 1; i < dims.size(); ++i) args.inner *= dims[i];
    if (args.rows * args.width * args.inner == 0) return state;
    if (rows_) {
      const auto [kernel, plan] = rows_->choose(args.rows, args.width, args.width % vector_ == 0);
      state->kernel = kernel;
      state->blocks = plan.blocks(args.rows);
      state->threads = plan.threads();
    } else {
      state->kernel = columns_;
      state->blocks = static_cast<unsigned>(args.rows * ceil_div(args.inner, kColumnsPerBlock));
      state->threads = kColumnThreads;
    }
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const SoftmaxState*>(prepared);
    if (state.blocks == 0) return;
    SoftmaxArgs args = state.args;
    args.input = io.inputs[0].data;
    args.output = io.outputs[0].data;
    state.kernel->launch(stream_of(device), {state.blocks}, state.threads, 0, args);
  }

 private:
  size_t axis_;
  int vector_ = 1;
  std::optional<RowKernels> rows_;
  const Kernel* columns_ = nullptr;
};

}  // namespace

Candidates lower(const lathe::Softmax& op, const Node& node, const Target& target) {
  if (!computes_as_float(node.output()->dtype())) return {decline("softmax", "element type")};
  return {accept_step<SoftmaxStep>("softmax", op, node, target)};
}

}  // namespace lathe::cuda
