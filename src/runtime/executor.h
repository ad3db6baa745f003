// Runs a program for one session. What depends on the input sizes is prepared once for each set of them (prepared.h; a
// bounded number of sets is kept, least recently used goes first); a warm run only fills in pointers and calls steps,
// and allocates nothing. Values whose sizes only the run can tell live in buffers of their own that grow to the largest
// size seen. Control flow runs here as well, above the device (control_flow.h): each region has an executor of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/device_buffer.h"
#include "runtime/prepared.h"
#include "runtime/weight_stream.h"

namespace lathe {

class ControlFlow;

// Watches a run step by step: profiling, layer dumps. Called on the session's thread around each step of the outermost
// program; the steps of regions are part of the step that holds them.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  // Whether the device is to be done with a step when after() is called; false for those that only time steps.
  virtual bool waits() const { return true; }
  virtual void before(size_t step) = 0;
  virtual void after(size_t step, const StepIo& io) = 0;
};

class Executor {
 public:
  // `weights` holds the device address of each weight of the outermost program, `stream` brings those that have no
  // place there for good. All arguments outlive the executor.
  Executor(const Graph& graph, const Program& program, std::span<void* const> weights, DeviceContext& device,
           WeightStream* stream = nullptr);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // inputs: one per graph input, device addresses. outputs: one per graph output; where data is set it is used as the
  // output's memory (the sizes must be right), else the executor fills in its own memory, valid until the next run.
  // The dims of outputs are filled in and stay valid likewise. Throws Error(invalid_argument) on sizes that do not fit.
  void run(std::span<const TensorRef> inputs, std::span<TensorRef> outputs, StepObserver* observer = nullptr);
  // The same without waiting for the device: the outputs' sizes are there, their elements not yet.
  void enqueue(std::span<const TensorRef> inputs, std::span<TensorRef> outputs, StepObserver* observer = nullptr);
  // The same for a region that runs inside another program, whose symbols it sees; does not wait for the device.
  void run_region(std::span<const TensorRef> inputs, std::span<TensorRef> outputs, const SymbolBindings& outer);
  // Exchanges the memory of an output of the last run, which was not bound, for that of `value`, and gives it the
  // output's sizes and object: the output stays valid, and the next run writes elsewhere.
  void take_output(size_t output, LateValue& value);

  // Sets aside memory for these input sizes: runs with them, and with all that are nowhere larger, then find every
  // value at the same address and the arena never moves.
  void reserve(std::span<const TensorRef> inputs);

  // Sizes and memory for given input sizes, without running: for `inspect`, and for callers that bind outputs.
  struct Footprint {
    size_t arena_bytes = 0;       // activations, lifetimes overlapped
    size_t activation_bytes = 0;  // the same without overlapping
    size_t workspace_bytes = 0;
    size_t late_values = 0;  // values whose sizes are not known before running
  };
  Footprint footprint(std::span<const TensorRef> inputs);
  // Sizes of each output for given input sizes, valid until the next run; null for one known only while running.
  void output_dims(std::span<const TensorRef> inputs, std::span<const std::vector<int64_t>*> dims,
                   const SymbolBindings* outer = nullptr);

 private:
  class LateAllocator;

  Prepared& prepared_for(std::span<const TensorRef> inputs, const SymbolBindings* outer);
  void check_types(std::span<const TensorRef> inputs) const;
  void count(std::span<const TensorRef> inputs);
  const void* on_host(const TensorRef& input);
  void execute(std::span<const TensorRef> inputs, std::span<TensorRef> outputs, const SymbolBindings* outer,
               StepObserver* observer);
  void assign_pointers(const Prepared& prepared, std::span<const TensorRef> inputs, std::span<TensorRef> outputs);
  bool replay(Prepared& prepared);
  void run_steps(Prepared& prepared, StepObserver* observer);
  void run_step(Prepared& prepared, size_t step, StepObserver* observer);
  void finish_output(const Prepared& prepared, size_t output, TensorRef& out);

  // executor_late.cc
  void run_late_step(Prepared& prepared, size_t step, StepObserver* observer);
  bool refresh_operands(const Prepared& prepared, size_t step, PreparedStep& target);
  bool refresh_results(const Prepared& prepared, size_t step, PreparedStep& target);
  bool refresh_symbols(const Prepared& prepared, size_t step, PreparedStep& target) const;
  void call_late_step(size_t step, PreparedStep& target, const StepIo& io, bool as_before);
  void run_control_flow(const Prepared& prepared, size_t step, const PreparedStep& target);
  void adopt_late_output(Prepared& prepared, int value);
  void run_bind(Prepared& prepared, size_t step);
  const std::vector<int64_t>& sizes_of(const Prepared& prepared, int value);

  const Wiring wiring_;
  const Program& program_;
  std::span<void* const> weights_;
  DeviceContext& device_;
  WeightStream* const stream_;
  std::vector<std::unique_ptr<Prepared>> cache_;  // most recently used first
  std::vector<std::shared_ptr<const Placement>> capacities_;
  std::vector<std::unique_ptr<ControlFlow>> control_flow_;  // by step; null for most
  std::vector<void*> pointers_;                             // by root value, during a run
  std::vector<LateValue> late_, own_outputs_;               // by value; by output
  DeviceBuffer arena_, late_workspace_;
  std::vector<int64_t> view_dims_;       // of an alias, while a step is made ready
  std::vector<LateValue*> step_late_;    // outputs of a control-flow step, while it is made ready
  std::vector<std::byte> bound_values_;  // what a Bind reads, or counting
  std::vector<int64_t> counted_;         // as RunSizes has them
};

}  // namespace lathe
