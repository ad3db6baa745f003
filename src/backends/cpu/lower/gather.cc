// Gather: slices along one axis picked by index, of elements of any whole-byte type.
#include "backends/cpu/kernels/gather.h"

#include "backends/cpu/lower/lower.h"
#include "base/error.h"

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
    g.indices = indices.data;
    g.indices_i64 = indices.dtype == DType::i64;
    g.out = io.outputs[0].data;
    const int64_t wrong = gather(team_of(device), g);
    if (wrong < 0) return;
    const int64_t index = g.indices_i64 ? indices.as<int64_t>()[wrong] : indices.as<int32_t>()[wrong];
    fail(ErrorCode::invalid_argument, "index {} (element {} of the indices) is outside of axis {} with {} elements",
         index, wrong, axis_, g.axis);
  }

 private:
  size_t axis_;
};

std::string why_not(const Node& node) {
  const DType indices = node.input(1)->dtype();
  if (indices != DType::i64 && indices != DType::i32)
    return fmt::format("indices are {}, not i32 or i64", to_string(indices));
  return not_whole_bytes(node.input(0)->dtype());
}

}  // namespace

Candidates lower(const lathe::Gather& op, const Node& node, const Target&) {
  if (std::string why = why_not(node); !why.empty()) return {decline("gather", std::move(why))};
  const int64_t axis = op.axis < 0 ? op.axis + node.input(0)->type().rank() : op.axis;
  return {accept("gather", [axis] { return plain_step<GatherStep>(static_cast<size_t>(axis)); })};
}

}  // namespace lathe::cpu
