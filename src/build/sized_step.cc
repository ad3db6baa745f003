#include "build/sized_step.h"

#include <algorithm>

namespace lathe {
namespace {

struct SizedState : StepState {
  const Step* step = nullptr;
  std::unique_ptr<StepState> state;
};

}  // namespace

const Step& SizedStep::serving(const StepIo& io) const {
  const int64_t elements = io.outputs[0].elements();
  const auto fits = [&](const Variant& variant) { return elements <= variant.most; };
  return *std::find_if(variants_.begin(), variants_.end() - 1, fits)->step;
}

std::unique_ptr<StepState> SizedStep::prepare(const StepIo& io) const {
  auto state = std::make_unique<SizedState>();
  state->step = &serving(io);
  state->state = state->step->prepare(io);
  return state;
}

void SizedStep::run(const StepIo& io, const StepState* state, void* workspace, DeviceContext& device) const {
  const auto& sized = *static_cast<const SizedState*>(state);
  sized.step->run(io, sized.state.get(), workspace, device);
}

bool SizedStep::recordable() const {
  return std::all_of(variants_.begin(), variants_.end(), [](const Variant& v) { return v.step->recordable(); });
}

}  // namespace lathe
