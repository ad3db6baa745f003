// Pooling in either layout.
#include "backends/cpu/kernels/pool.h"

#include "backends/cpu/lower/lower.h"

namespace lathe::cpu {
namespace {

PoolKind kernel_kind(lathe::PoolKind kind) {
  switch (kind) {
    case lathe::PoolKind::average: return PoolKind::average;
    case lathe::PoolKind::lp: return PoolKind::lp;
    default: return PoolKind::max;
  }
}

void set_spatial(std::array<int64_t, 3>& size, std::span<const int64_t> list) {
  for (size_t i = 0; i < list.size(); ++i) size[3 - list.size() + i] = list[i];
}

struct PoolState : StepState {
  PoolShape shape;
};

class PoolStep : public Step {
 public:
  PoolStep(const lathe::Pool& op, const KernelTable& kernels) : op_(op), kernels_(kernels) {}

  size_t workspace_bytes(const StepIo& io) const override { return pool_workspace_bytes(shape_of(io), io.threads); }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<PoolState>();
    state->shape = shape_of(io);
    return state;
  }

  void run(const StepIo& io, const StepState* state, void* workspace, DeviceContext& device) const override {
    if (io.outputs[0].elements() == 0) return;
    const PoolShape& sizes = static_cast<const PoolState*>(state)->shape;
    const DType type = io.inputs[0].dtype;
    if (type != DType::f32)
      return max_pool_bytes(team_of(device), kernels_, sizes, io.inputs[0].as<const uint8_t>(), type == DType::i8,
                            io.outputs[0].as<uint8_t>(), static_cast<std::byte*>(workspace));
    PoolIndices indices;
    if (io.outputs.size() > 1) indices = {io.outputs[1].as<int64_t>(), op_.column_major_indices};
    pool(team_of(device), kernels_, sizes, io.inputs[0].as<const float>(), io.outputs[0].as<float>(),
         static_cast<std::byte*>(workspace), indices);
  }

 private:
  PoolShape shape_of(const StepIo& io) const {
    const auto &x = io.inputs[0].dims, &y = io.outputs[0].dims;
    const size_t spatial = op_.kernel.size(), first = op_.channels_last ? 1 : 2;
    const std::vector<int64_t> pads = io.symbols->evaluate(op_.pads);
    PoolShape shape;
    shape.kind = kernel_kind(op_.kind);
    shape.nchw = !op_.channels_last;
    shape.batch = x[0];
    shape.channels = x[op_.channels_last ? spatial + 1 : 1];
    set_spatial(shape.input, x.subspan(first, spatial));
    set_spatial(shape.output, y.subspan(first, spatial));
    set_spatial(shape.kernel, op_.kernel);
    set_spatial(shape.stride, op_.strides);
    set_spatial(shape.dilation, op_.dilations);
    set_spatial(shape.pad_begin, std::span(pads).first(spatial));
    set_spatial(shape.pad_end, std::span(pads).last(spatial));
    shape.count_include_pad = op_.count_include_pad;
    shape.p = static_cast<float>(op_.p);
    return shape;
  }

  lathe::Pool op_;
  const KernelTable& kernels_;
};

}  // namespace

Candidates lower(const lathe::Pool& op, const Node& node, const Target& target) {
  const DType type = node.input(0)->dtype();
  const bool bytes = (type == DType::u8 || type == DType::i8) && op.kind == lathe::PoolKind::max && op.channels_last &&
                     node.outputs().size() == 1;
  if (type != DType::f32 && !bytes)
    return {decline("pool", "computes in f32 only, not " + to_string(node.input(0)->type()))};
  if (op.kernel.size() > 3) return {decline("pool", "more than three spatial axes")};
  return {accept("pool", [&op, &kernels = target.kernels] { return plain_step<PoolStep>(op, kernels); })};
}

}  // namespace lathe::cpu
