// Elementwise programs run on the map interpreter.
#include "backends/cpu/lower/map_step.h"

#include "backends/cpu/lower/lower.h"

namespace lathe::cpu {

std::unique_ptr<StepState> MapStep::prepare(const StepIo& io) const {
  std::vector<std::span<const int64_t>> dims;
  for (const TensorRef& input : io.inputs) dims.push_back(input.dims);
  return std::make_unique<MapState>(code_, dims, io.outputs[0].dims, *io.symbols);
}

void MapStep::run(const StepIo& io, const StepState* state, void* workspace, DeviceContext& device) const {
  const void* inputs[kMaxMapInputs];
  for (size_t i = 0; i < io.inputs.size(); ++i) inputs[i] = io.inputs[i].data;
  static_cast<const MapState*>(state)->plan.run(team_of(device), {inputs, io.inputs.size()}, io.outputs[0].data,
                                                workspace);
}

Candidates lower(const lathe::Map& op, const Node&, const Target& target) {
  const MapKernels& kernels = target.kernels.map;
  if (std::string why = MapCode::why_unsupported(op.program, kernels); !why.empty()) return {decline("map", why)};
  if (op.program.num_inputs() > static_cast<int>(kMaxMapInputs)) return {decline("map", "too many inputs")};
  return {accept("map", [&op, &kernels] { return Lowered{std::make_unique<MapStep>(op.program, kernels), {}}; })};
}

}  // namespace lathe::cpu
