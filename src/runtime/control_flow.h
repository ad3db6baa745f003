// If, Loop and Scan, run on the host above any device: conditions and trip counts are read back, bodies run where their
// programs do. A region has an executor of its own, so what its sizes ask for is prepared once and kept. Values go in
// and out by address: captured values are read where they lie, carried ones alternate between two buffers, and slices
// are written straight to their place in the stacked output wherever the body knows their sizes before it runs.
#pragma once

#include <memory>
#include <span>

#include "build/program.h"
#include "runtime/device_buffer.h"

namespace lathe {

// The operands and results of one run of a control-flow step.
struct ControlIo {
  std::span<const TensorRef> inputs;
  std::span<const TensorRef> outputs;  // data and dims are set where they are known before
  std::span<LateValue* const> late;    // by output: takes the others
  const SymbolBindings& symbols;       // of the program around
};

class ControlFlow {
 public:
  virtual ~ControlFlow() = default;
  virtual void run(const ControlIo& io) = 0;
};

std::unique_ptr<ControlFlow> make_control_flow(const ProgramStep& step, std::span<void* const> weights,
                                               DeviceContext& device);

}  // namespace lathe
