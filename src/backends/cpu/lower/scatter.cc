// Scatters of elements and of slices.
#include "backends/cpu/kernels/scatter.h"

#include "backends/cpu/lower/indices.h"
#include "backends/cpu/lower/lower.h"

namespace lathe::cpu {
namespace {

ScatterKind kernel_kind(ScatterReduction reduction) {
  switch (reduction) {
    case ScatterReduction::none: return ScatterKind::replace;
    case ScatterReduction::add: return ScatterKind::add;
    case ScatterReduction::mul: return ScatterKind::multiply;
    case ScatterReduction::max: return ScatterKind::maximum;
    case ScatterReduction::min: return ScatterKind::minimum;
  }
  fail(ErrorCode::internal, "unknown reduction");
}

class ScatterStep : public Step {
 public:
  ScatterStep(PositionRule rule, ScatterKind kind) : rule_(rule), kind_(kind) {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = rule_.prepare(io);
    const Positions& p = state->positions;
    if (io.inputs[2].elements() != p.count() * p.slice_elements())
      fail(ErrorCode::invalid_argument, "updates of shape {} for {} slices of {} elements",
           to_string(io.inputs[2].dims), p.count(), p.slice_elements());
    return state;
  }

  void run(const StepIo& io, const StepState* state, void*, DeviceContext& device) const override {
    const TensorRef& x = io.inputs[0];
    const IndexTensor indices = index_tensor(io.inputs[1]);
    const Scatter s{static_cast<const PositionState*>(state)->positions,
                    kind_,
                    x.dtype,
                    x.elements(),
                    x.data,
                    indices,
                    io.inputs[2].data,
                    io.outputs[0].data};
    refuse_index(indices, scatter(team_of(device), s), x.dims);
  }

 private:
  PositionRule rule_;
  ScatterKind kind_;
};

Candidates scatter_with(std::string kernel, const Node& node, PositionRule rule, ScatterReduction reduction) {
  const DType type = node.input(0)->dtype();
  std::string why = not_indexable(node);
  if (why.empty() && reduction != ScatterReduction::none && !can_combine(type))
    why = fmt::format("elements of type {} can be replaced only, not combined", to_string(type));
  if (!why.empty()) return {decline(std::move(kernel), std::move(why))};
  return {accept(std::move(kernel), [=] { return plain_step<ScatterStep>(rule, kernel_kind(reduction)); })};
}

}  // namespace

Candidates lower(const lathe::ScatterElements& op, const Node& node, const Target&) {
  return scatter_with("scatter_elements", node, PositionRule::elements(axis_of(op.axis, node.input(0)->type().rank())),
                      op.reduction);
}

Candidates lower(const lathe::ScatterNd& op, const Node& node, const Target&) {
  return scatter_with("scatter_nd", node, PositionRule::slices(0), op.reduction);
}

}  // namespace lathe::cpu
