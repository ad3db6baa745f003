// A step that runs one expression program, and what other steps need to run theirs: products whose epilogue their
// kernel cannot do while storing apply it in place afterwards.
#pragma once

#include "backends/backend.h"
#include "backends/cpu/map_vm.h"

namespace lathe::cpu {

inline constexpr size_t kMaxMapInputs = 64;

struct MapState : StepState {
  MapState(const MapCode& code, std::span<const std::span<const int64_t>> dims, std::span<const int64_t> out,
           const SymbolBindings& symbols)
      : plan(code, dims, out, symbols) {}
  MapPlan plan;
};

class MapStep : public Step {
 public:
  MapStep(const MapProgram& program, const MapKernels& kernels) : code_(program, kernels) {}

  size_t workspace_bytes(const StepIo& io) const override {
    return static_cast<size_t>(io.threads) * code_.scratch_bytes();
  }
  std::unique_ptr<StepState> prepare(const StepIo& io) const override;
  void run(const StepIo& io, const StepState* state, void* workspace, DeviceContext& device) const override;

 private:
  MapCode code_;
};

}  // namespace lathe::cpu
