// Data movement driven by index tensors, writing: scatter_elements, scatter_nd. The operand is copied, then every
// update finds its place; with a reduction, updates are atomic, so that floats which several updates add to may differ
// in the last bits from run to run. An index out of range changes nothing: kernels cannot report errors.
#include "backends/cuda/lower/movement.h"
#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

std::vector<std::string> defines(ScatterReduction reduction, DType type) {
  std::vector<std::string> result = {fmt::format("REDUCTION={}", static_cast<int>(reduction))};
  if (reduction != ScatterReduction::none) result.push_back(fmt::format("TYPE={}", cuda_type(type)));
  return result;
}

template <class Args>
void scatter(const StepIo& io, const MoveState<Args>& state, DeviceContext& device) {
  const TensorRef &x = io.inputs[0], &y = io.outputs[0];
  if (x.data != y.data) device.copy(y.data, x.data, storage_bytes(x.dtype, x.elements()));
  launch_moves(state, io.inputs[2].data, y.data, io.inputs[1].data, device);
}

class ScatterElementsStep : public Step {
 public:
  ScatterElementsStep(const lathe::ScatterElements& op, const Node& node, const Target& target)
      : axis_(static_cast<size_t>(op.axis < 0 ? op.axis + node.input(0)->type().rank() : op.axis)),
        kernel_(target.kernels, "scatter_elements", defines(op.reduction, node.output()->dtype())) {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    const TensorRef &x = io.inputs[0], &indices = io.inputs[1];
    for (size_t axis = 0; axis < x.dims.size(); ++axis)
      if (axis != axis_ && indices.dims[axis] > x.dims[axis])
        fail(ErrorCode::invalid_argument, "{} indices along axis {}, which has {} elements", indices.dims[axis], axis,
             x.dims[axis]);
    auto state = std::make_unique<MoveState<ElementsArgs>>();
    state->wide = state->narrow = elements_args(x.dims, indices, axis_, x.dtype);
    state->kernel = kernel_.for_elements(std::max(x.elements(), indices.elements()));
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    scatter(io, *static_cast<const MoveState<ElementsArgs>*>(prepared), device);
  }

 private:
  size_t axis_;
  MoveKernel kernel_;
};

class ScatterNdStep : public Step {
 public:
  ScatterNdStep(const lathe::ScatterNd& op, const Node& node, const Target& target)
      : reduces_(op.reduction != ScatterReduction::none),
        kernel_(target.kernels, "scatter_nd", defines(op.reduction, node.output()->dtype())) {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    const TensorRef &x = io.inputs[0], &indices = io.inputs[1];
    const int64_t bytes = element_bytes(x.dtype);
    const auto element = static_cast<int>(bytes);
    const int unit = reduces_ ? element : widest_unit({slice_elements(x.dims, indices, 0) * bytes});
    auto state = std::make_unique<MoveState<SlicesArgs>>();
    state->wide = slices_args(x.dims, indices, 0, bytes, unit);
    state->narrow = slices_args(x.dims, indices, 0, bytes, element);
    state->kernel = kernel_.for_elements(std::max(x.elements(), io.inputs[2].elements()));
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    scatter(io, *static_cast<const MoveState<SlicesArgs>*>(prepared), device);
  }

 private:
  bool reduces_;
  MoveKernel kernel_;
};

// The one candidate that each of these ops has.
template <class S, class OpT>
Candidates scatters(std::string kernel, const OpT& op, const Node& node, const Target& target) {
  const DType type = node.output()->dtype();
  std::string why = why_not_movable(type);
  if (why.empty()) why = why_no_index(node.input(1)->dtype());
  if (why.empty() && op.reduction != ScatterReduction::none && cuda_type(type).empty())
    why = fmt::format("CUDA kernels do not compute with {}", to_string(type));
  if (why.empty() && node.input(0)->type().rank() > kMoveMaxRank) why = "more than 8 axes";
  if (!why.empty()) return {decline(std::move(kernel), std::move(why))};
  return {accept_step<S>(std::move(kernel), op, node, target)};
}

}  // namespace

Candidates lower(const lathe::ScatterElements& op, const Node& node, const Target& target) {
  return scatters<ScatterElementsStep>("scatter_elements", op, node, target);
}

Candidates lower(const lathe::ScatterNd& op, const Node& node, const Target& target) {
  return scatters<ScatterNdStep>("scatter_nd", op, node, target);
}

}  // namespace lathe::cuda
