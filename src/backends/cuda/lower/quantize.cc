// Quantisation with parameters from the data: rows each by a group of threads, a whole tensor by all blocks in two
// launches.
#include <algorithm>

#include "backends/cuda/kernels/quantize_args.h"
#include "backends/cuda/lower/rows.h"
#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

constexpr int64_t kThreads = 256, kBlocksPerMultiprocessor = 4;  // of quantize_tensor.cu

struct QuantizeState : StepState {
  QuantizeArgs args{};
  const Kernel *kernel = nullptr, *range = nullptr;
  unsigned blocks = 0, threads = 0;
};

std::string result_name(DType type) { return type == DType::f8e4m3 ? "e4m3" : std::string(cuda_type(type)); }

class QuantizeStep : public Step {
 public:
  QuantizeStep(const lathe::DynamicQuantize& op, const Node& node, const Target& target)
      : axis_(static_cast<size_t>(op.axis)), target_(target), vector_(pack_of(node.input(0)->dtype())) {
    const std::vector<std::string> defines = {fmt::format("X={}", cuda_type(node.input(0)->dtype())),
                                              "Q=" + result_name(node.output(0)->dtype())};
    if (axis_ == 0) {
      for (const int vector : {1, vector_}) {
        ranges_.push_back(&request(defines, 0, vector));
        stores_.push_back(&request(defines, 1, vector));
      }
    } else {
      const Shape& shape = node.input(0)->shape();
      rows_.emplace(KernelSpec{"quantize_rows.cu", "quantize_rows", defines, {}},
                    product({shape.begin() + op.axis, shape.end()}), vector_, target);
    }
  }

  size_t workspace_bytes(const StepIo&) const override {
    return axis_ == 0 ? static_cast<size_t>(most_blocks()) * 2 * sizeof(float) : 0;
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<QuantizeState>();
    QuantizeArgs& args = state->args;
    const auto dims = io.inputs[0].dims;
    args.rows = args.width = 1;
    for (size_t i = 0; i < dims.size(); ++i) (i < axis_ ? args.rows : args.width) *= dims[i];
    const bool packed = args.width % vector_ == 0;
    if (axis_ == 0) {  // the parameters of nothing are stored too
      state->range = ranges_[packed ? 1 : 0];
      state->kernel = stores_[packed ? 1 : 0];
      state->threads = kThreads;
      state->blocks = static_cast<unsigned>(
          std::clamp<int64_t>(ceil_div(args.width, kThreads * (packed ? vector_ : 1)), 1, most_blocks()));
      args.parts = static_cast<int>(state->blocks);
    } else if (args.rows > 0) {
      const auto [kernel, plan] = rows_->choose(args.rows, args.width, packed);
      state->kernel = kernel;
      state->blocks = plan.blocks(args.rows);
      state->threads = plan.threads();
    }
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void* workspace, DeviceContext& device) const override {
    const auto& state = *static_cast<const QuantizeState*>(prepared);
    if (state.blocks == 0) return;
    QuantizeArgs args = state.args;
    args.input = io.inputs[0].data;
    args.output = io.outputs[0].data;
    if (io.outputs.size() > 1) args.scales = io.outputs[1].as<float>();
    if (io.outputs.size() > 2) args.zeros = io.outputs[2].data;
    args.ranges = static_cast<float*>(workspace);
    if (state.range != nullptr) state.range->launch(stream_of(device), {state.blocks}, state.threads, 0, args);
    state.kernel->launch(stream_of(device), {state.blocks}, state.threads, 0, args);
  }

 private:
  int64_t most_blocks() const { return kBlocksPerMultiprocessor * target_.device.multiprocessors; }

  const Kernel& request(std::vector<std::string> defines, int store, int vector) const {
    defines.push_back(fmt::format("STORE={}", store));
    defines.push_back(fmt::format("VECTOR={}", vector));
    return target_.kernels.request({"quantize_tensor.cu", "quantize_tensor", std::move(defines), {}});
  }

  size_t axis_;
  const Target& target_;
  int vector_;
  std::optional<RowKernels> rows_;
  std::vector<const Kernel*> ranges_, stores_;  // for single elements, and for packs
};

}  // namespace

Candidates lower(const lathe::DynamicQuantize& op, const Node& node, const Target& target) {
  const DType type = node.input(0)->dtype();
  if (!computes_as_float(type) || type == DType::f64) return {decline("dynamic_quantize", "element type")};
  if (node.output(0)->dtype() == DType::f8e4m3 && target.device.major * 10 + target.device.minor < 89)
    return {decline("dynamic_quantize", "floats of 8 bits need sm_89")};
  return {accept_step<QuantizeStep>("dynamic_quantize", op, node, target)};
}

}  // namespace lathe::cuda
