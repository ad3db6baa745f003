// Elementwise ops: one kernel generated per program.
#include "backends/cuda/lower/program_map.h"

namespace lathe::cuda {
namespace {

std::vector<MapOperand> operands_of(const Node& node) {
  std::vector<MapOperand> operands;
  for (const Value* input : node.inputs()) operands.push_back({input->dtype(), input->shape()});
  return operands;
}

struct MapState : StepState {
  ProgramMap::Plan plan;
};

class MapStep : public Step {
 public:
  MapStep(const lathe::Map& op, const Node& node, const Target& target)
      : map_(op.program, operands_of(node), node.output()->shape(), target) {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<MapState>();
    std::vector<std::span<const int64_t>> dims;
    for (const TensorRef& input : io.inputs) dims.push_back(input.dims);
    state->plan = map_.plan(dims, io.outputs[0].dims, *io.symbols);
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const void* inputs[kMapMaxInputs];
    for (size_t i = 0; i < io.inputs.size(); ++i) inputs[i] = io.inputs[i].data;
    map_.launch(static_cast<const MapState*>(prepared)->plan, {inputs, io.inputs.size()}, io.outputs[0].data,
                stream_of(device));
  }

 private:
  ProgramMap map_;
};

}  // namespace

Candidates lower(const lathe::Map& op, const Node& node, const Target& target) {
  if (std::string why = ProgramMap::why_not(op.program, operands_of(node), node.output()->shape()); !why.empty())
    return {decline("map", std::move(why))};
  return {accept_step<MapStep>("map", op, node, target)};
}

}  // namespace lathe::cuda
