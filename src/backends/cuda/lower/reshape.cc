// Ops that move nothing: reshapes alias their operand, and tensors of dimensions are written from the known sizes.
#include "backends/cuda/kernels/movement_args.h"
#include "backends/cuda/lower/lower.h"

namespace lathe::cuda {
namespace {

struct DimsState : StepState {
  std::vector<DimsArgs> launches;
};

class DimsStep : public Step {
 public:
  DimsStep(Shape values, const Target& target)
      : values_(std::move(values)), kernel_(target.kernels.request({"dims.cu", "dims", {}, {}})) {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<DimsState>();
    for (size_t i = 0; i < values_.size(); ++i) {
      if (i % kDimsMaxValues == 0) state->launches.emplace_back();
      DimsArgs& args = state->launches.back();
      args.values[args.count++] = io.symbols->evaluate(values_[i]);
    }
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    auto* y = io.outputs[0].as<int64_t>();
    for (DimsArgs args : static_cast<const DimsState*>(prepared)->launches) {
      args.y = y;
      kernel_.launch(stream_of(device), {1}, kDimsMaxValues, 0, args);
      y += args.count;
    }
  }

 private:
  Shape values_;
  const Kernel& kernel_;
};

}  // namespace

Candidates lower(const lathe::Dims& op, const Node&, const Target& target) {
  return {accept("dims", [&op, &target] { return Lowered{std::make_unique<DimsStep>(op.values, target), {}}; })};
}

Candidates lower(const lathe::Reshape&, const Node& node, const Target&) {
  if (node.input(0)->dtype() == DType::string)
    return {decline("alias", "a tensor of strings carries its shape itself")};
  return {accept("alias", [] { return Lowered{}; })};
}

}  // namespace lathe::cuda
