// Gathers: slices along one axis picked by index, and elements or slices wherever an index tensor points. Of elements
// of any whole-byte type.
#include "backends/cpu/kernels/gather.h"

#include "backends/cpu/lower/indices.h"
#include "backends/cpu/lower/lower.h"

namespace lathe::cpu {
namespace {

class GatherStep : public Step {
 public:
  explicit GatherStep(size_t axis) : axis_(axis) {}

  void run(const StepIo& io, const StepState*, void*, DeviceContext& device) const override {
    const TensorRef &x = io.inputs[0], &indices = io.inputs[1];
    Gather g{};
    g.outer = 1;
    g.inner_bytes = element_bytes(x.dtype);
    for (size_t a = 0; a < axis_; ++a) g.outer *= x.dims[a];
    for (size_t a = axis_ + 1; a < x.dims.size(); ++a) g.inner_bytes *= x.dims[a];
    g.axis = x.dims[axis_];
    g.count = indices.elements();
    g.data = x.data;
    g.indices = index_tensor(indices);
    g.out = io.outputs[0].data;
    refuse_index(g.indices, gather(team_of(device), g), x.dims);
  }

 private:
  size_t axis_;
};

class GatherSlicesStep : public Step {
 public:
  explicit GatherSlicesStep(PositionRule rule) : rule_(rule) {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override { return rule_.prepare(io); }

  void run(const StepIo& io, const StepState* state, void*, DeviceContext& device) const override {
    const TensorRef& x = io.inputs[0];
    const IndexTensor indices = index_tensor(io.inputs[1]);
    const GatherSlices g{static_cast<const PositionState*>(state)->positions, element_bytes(x.dtype), x.data, indices,
                         io.outputs[0].data};
    refuse_index(indices, gather_slices(team_of(device), g), x.dims);
  }

 private:
  PositionRule rule_;
};

Candidates gather_slices_with(std::string kernel, const Node& node, PositionRule rule) {
  if (std::string why = not_indexable(node); !why.empty()) return {decline(std::move(kernel), std::move(why))};
  return {accept(std::move(kernel), [rule] { return plain_step<GatherSlicesStep>(rule); })};
}

}  // namespace

Candidates lower(const lathe::Gather& op, const Node& node, const Target&) {
  if (std::string why = not_indexable(node); !why.empty()) return {decline("gather", std::move(why))};
  const size_t axis = axis_of(op.axis, node.input(0)->type().rank());
  return {accept("gather", [axis] { return plain_step<GatherStep>(axis); })};
}

Candidates lower(const lathe::GatherElements& op, const Node& node, const Target&) {
  return gather_slices_with("gather_elements", node,
                            PositionRule::elements(axis_of(op.axis, node.input(0)->type().rank())));
}

Candidates lower(const lathe::GatherNd& op, const Node& node, const Target&) {
  return gather_slices_with("gather_nd", node, PositionRule::slices(static_cast<size_t>(op.batch_dims)));
}

}  // namespace lathe::cpu
