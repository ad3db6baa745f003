// Dynamic quantisation: rows over the thread team, or one row that all threads share.
#include "backends/cpu/kernels/quantize.h"

#include "backends/cpu/lower/lower.h"

namespace lathe::cpu {
namespace {

class DynamicQuantizeStep : public Step {
 public:
  DynamicQuantizeStep(const lathe::DynamicQuantize& op, const QuantizeKernels& kernels) : op_(op), kernels_(kernels) {}

  size_t workspace_bytes(const StepIo& io) const override {
    Workspace workspace;
    cut(workspace, io);
    return workspace.used();
  }

  void run(const StepIo& io, const StepState*, void* memory, DeviceContext& device) const override {
    Workspace workspace(memory);
    dynamic_quantize(team_of(device), kernels_, {op_.symmetric}, cut(workspace, io));
  }

 private:
  DynamicQuantizeArgs cut(Workspace& workspace, const StepIo& io) const {
    DynamicQuantizeArgs args{};
    const auto dims = io.inputs[0].dims;
    args.rows = 1;
    for (const int64_t size : dims.first(static_cast<size_t>(op_.axis))) args.rows *= size;
    args.columns = io.inputs[0].elements() / std::max<int64_t>(args.rows, 1);
    args.x = io.inputs[0].as<const float>();
    args.y = io.outputs[0].as<uint8_t>();
    // Parameters that nobody asked for are computed all the same.
    args.scales = io.outputs.size() > 1 ? io.outputs[1].as<float>() : workspace.floats(args.rows);
    args.zeros = io.outputs.size() > 2 ? io.outputs[2].as<uint8_t>() : nullptr;
    args.ranges = reinterpret_cast<FloatRange*>(workspace.take(static_cast<size_t>(io.threads) * sizeof(FloatRange)));
    return args;
  }

  lathe::DynamicQuantize op_;
  const QuantizeKernels& kernels_;
};

}  // namespace

Candidates lower(const lathe::DynamicQuantize& op, const Node& node, const Target& target) {
  if (node.input(0)->dtype() != DType::f32) return {decline("dynamic_quantize", "it quantises f32")};
  if (op.floating) return {decline("dynamic_quantize", "it quantises to integers")};
  return {accept("dynamic_quantize",
                 [&op, &kernels = target.kernels.quantize] { return plain_step<DynamicQuantizeStep>(op, kernels); })};
}

}  // namespace lathe::cpu
