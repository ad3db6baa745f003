// Data movement driven by index tensors, reading: gather, gather_elements, gather_nd. What an index out of range names
// is taken for zeros: kernels cannot report errors.
#include "backends/cuda/lower/movement.h"

namespace lathe::cuda {
namespace {

class GatherStep : public Step {
 public:
  GatherStep(const lathe::Gather& op, const Node& node, const Target& target)
      : axis_(static_cast<size_t>(op.axis < 0 ? op.axis + node.input(0)->type().rank() : op.axis)),
        kernel_(target.kernels, "gather") {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    const TensorRef &x = io.inputs[0], &indices = io.inputs[1];
    const int64_t outer = product(x.dims.first(axis_)), inner = product(x.dims.subspan(axis_ + 1));
    const int64_t bytes = element_bytes(x.dtype);
    const auto args_for = [&](int unit) {
      GatherArgs args{};
      args.unit = unit;
      args.wide_indices = indices.dtype == DType::i64;
      args.limit = x.dims[axis_];
      args.inner = divisor(inner * bytes / unit);
      args.count = divisor(indices.elements());
      args.total = static_cast<unsigned long long>(outer * indices.elements() * inner * bytes / unit);
      return args;
    };
    auto state = std::make_unique<MoveState<GatherArgs>>();
    state->wide = args_for(widest_unit({inner * bytes}));
    state->narrow = args_for(static_cast<int>(bytes));
    state->kernel = kernel_.for_elements(std::max(x.elements(), io.outputs[0].elements()));
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    launch_moves(*static_cast<const MoveState<GatherArgs>*>(prepared), io.inputs[0].data, io.outputs[0].data,
                 io.inputs[1].data, device);
  }

 private:
  size_t axis_;
  MoveKernel kernel_;
};

class GatherElementsStep : public Step {
 public:
  GatherElementsStep(const lathe::GatherElements& op, const Node& node, const Target& target)
      : axis_(static_cast<size_t>(op.axis < 0 ? op.axis + node.input(0)->type().rank() : op.axis)),
        kernel_(target.kernels, "gather_elements") {}

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
    launch_moves(*static_cast<const MoveState<ElementsArgs>*>(prepared), io.inputs[0].data, io.outputs[0].data,
                 io.inputs[1].data, device);
  }

 private:
  size_t axis_;
  MoveKernel kernel_;
};

class GatherNdStep : public Step {
 public:
  GatherNdStep(const lathe::GatherNd& op, const Node&, const Target& target)
      : batch_dims_(op.batch_dims), kernel_(target.kernels, "gather_nd") {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    const TensorRef &x = io.inputs[0], &indices = io.inputs[1];
    const int64_t bytes = element_bytes(x.dtype);
    const auto args_for = [&](int unit) { return slices_args(x.dims, indices, batch_dims_, bytes, unit); };
    auto state = std::make_unique<MoveState<SlicesArgs>>();
    state->wide = args_for(widest_unit({slice_elements(x.dims, indices, batch_dims_) * bytes}));
    state->narrow = args_for(static_cast<int>(bytes));
    state->kernel = kernel_.for_elements(std::max(x.elements(), io.outputs[0].elements()));
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    launch_moves(*static_cast<const MoveState<SlicesArgs>*>(prepared), io.inputs[0].data, io.outputs[0].data,
                 io.inputs[1].data, device);
  }

 private:
  int64_t batch_dims_;
  MoveKernel kernel_;
};

// The one candidate that each of these ops has.
template <class S, class OpT>
Candidates gathers(std::string kernel, const OpT& op, const Node& node, const Target& target) {
  std::string why = why_not_movable(node.output()->dtype());
  if (why.empty()) why = why_no_index(node.input(1)->dtype());
  if (why.empty() && node.input(0)->type().rank() > kMoveMaxRank) why = "more than 8 axes";
  if (!why.empty()) return {decline(std::move(kernel), std::move(why))};
  return {accept_step<S>(std::move(kernel), op, node, target)};
}

}  // namespace

Candidates lower(const lathe::Gather& op, const Node& node, const Target& target) {
  return gathers<GatherStep>("gather", op, node, target);
}

Candidates lower(const lathe::GatherElements& op, const Node& node, const Target& target) {
  return gathers<GatherElementsStep>("gather_elements", op, node, target);
}

Candidates lower(const lathe::GatherNd& op, const Node& node, const Target& target) {
  return gathers<GatherNdStep>("gather_nd", op, node, target);
}

}  // namespace lathe::cuda
