// Ops that move nothing: reshapes alias their operand, and tensors of dimensions are written from the known sizes.
#include "backends/cpu/lower/lower.h"

namespace lathe::cpu {
namespace {

class DimsStep : public Step {
 public:
  explicit DimsStep(Shape values) : values_(std::move(values)) {}

  void run(const StepIo& io, const StepState*, void*, DeviceContext&) const override {
    auto* out = io.outputs[0].as<int64_t>();
    for (const Dim& value : values_) *out++ = io.symbols->evaluate(value);
  }

 private:
  Shape values_;
};

}  // namespace

Candidates lower(const lathe::Dims& op, const Node&, const Target&) {
  return {accept("dims", [&op] { return plain_step<DimsStep>(op.values); })};
}

Candidates lower(const lathe::Reshape&, const Node& node, const Target&) {
  if (node.input(0)->dtype() == DType::string)
    return {decline("alias", "a tensor of strings carries its shape itself")};
  return {accept("alias", [] { return Lowered{}; })};
}

}  // namespace lathe::cpu
