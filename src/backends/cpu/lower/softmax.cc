// Softmax: rows of the last axis have a kernel of their own, other axes are walked in place.
#include "backends/cpu/kernels/softmax.h"

#include "backends/cpu/kernels/reduce.h"
#include "backends/cpu/lower/lower.h"

namespace lathe::cpu {
namespace {

class SoftmaxStep : public Step {
 public:
  SoftmaxStep(const lathe::Softmax& op, const KernelTable& kernels) : op_(op), kernels_(kernels) {}

  void run(const StepIo& io, const StepState*, void*, DeviceContext& device) const override {
    const AxisView view = view_along(io.inputs[0].dims, op_.axis);
    const auto* x = io.inputs[0].as<const float>();
    auto* y = io.outputs[0].as<float>();
    if (view.inner != 1) return softmax_along(team_of(device), kernels_, view, op_.log, x, y);
    Softmax rows;
    rows.rows = view.outer;
    rows.n = rows.ldx = rows.ldy = view.axis;
    rows.x = x;
    rows.y = y;
    rows.log = op_.log;
    rows.safe = op_.safe;
    softmax(team_of(device), kernels_.softmax, rows);
  }

 private:
  lathe::Softmax op_;
  const KernelTable& kernels_;
};

}  // namespace

Candidates lower(const lathe::Softmax& op, const Node& node, const Target& target) {
  if (std::string why = not_f32(node); !why.empty()) return {decline("softmax", std::move(why))};
  lathe::Softmax resolved = op;
  if (resolved.axis < 0) resolved.axis += node.output()->type().rank();
  if (op.safe && resolved.axis + 1 != node.output()->type().rank())
    return {decline("softmax", "rows of -inf are looked after along the last axis only")};
  return {
      accept("softmax", [resolved, &kernels = target.kernels] { return plain_step<SoftmaxStep>(resolved, kernels); })};
}

}  // namespace lathe::cpu
