// Runs a program for one session. For each set of input sizes it evaluates every dimension once, plans the arena and
// prepares the steps, and keeps that (a bounded number of sets, least recently used goes first); a warm run only fills
// in pointers and calls steps, and allocates nothing. Values whose sizes are known only while running (positions of
// non-zeros, loops) are "late": they live in buffers of their own that grow to the largest size seen.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "build/program.h"
#include "runtime/memory_planner.h"

namespace lathe {

// Watches a run step by step: profiling, layer dumps. Called on the session's thread around each step.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  virtual void before(size_t step) = 0;
  virtual void after(size_t step, const StepIo& io) = 0;
};

class Executor {
 public:
  // `weights` holds the device address of each Program::weights entry. All arguments outlive the executor.
  Executor(const Graph& graph, const Program& program, std::span<void* const> weights, DeviceContext& device);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // inputs: one per graph input, device addresses. outputs: one per graph output; where data is set it is used as the
  // output's memory (the sizes must be right), else the executor fills in its own memory, valid until the next run.
  // The dims of outputs are filled in and stay valid likewise. Throws Error(invalid_argument) on sizes that do not fit.
  void run(std::span<const TensorRef> inputs, std::span<TensorRef> outputs, StepObserver* observer = nullptr);

  // Sizes and memory for given input sizes, without running: for `inspect`, and for callers that bind outputs.
  struct Footprint {
    size_t arena_bytes = 0;       // activations, lifetimes overlapped
    size_t activation_bytes = 0;  // the same without overlapping
    size_t workspace_bytes = 0;
    size_t late_values = 0;  // values whose sizes are not known before running
  };
  Footprint footprint(std::span<const TensorRef> inputs);
  // Sizes of each output for given input sizes, valid until the next run; null for one known only while running.
  void output_dims(std::span<const TensorRef> inputs, std::span<const std::vector<int64_t>*> dims);

 private:
  struct Prepared;
  struct PreparedStep;
  struct Buffer;
  class LateAllocator;

  Prepared& prepare(std::span<const TensorRef> inputs);
  std::unique_ptr<Prepared> make_prepared(std::span<const TensorRef> inputs) const;
  void bind_inputs(Prepared& prepared, std::span<const TensorRef> inputs) const;
  void check_types(std::span<const TensorRef> inputs) const;
  void evaluate_sizes(Prepared& prepared, std::span<const TensorRef> inputs) const;
  bool evaluate_shape(const Prepared& prepared, const Value& value, std::vector<int64_t>& dims) const;
  void prepare_step(Prepared& prepared, size_t step) const;
  void place_buffers(Prepared& prepared) const;
  std::vector<int64_t> sizes_of(const Prepared& prepared, int value) const;

  void assign_pointers(const Prepared& prepared, std::span<const TensorRef> inputs, std::span<TensorRef> outputs);
  void run_step(Prepared& prepared, size_t step, StepObserver* observer);
  void run_late_step(Prepared& prepared, size_t step, StepObserver* observer);
  void run_bind(Prepared& prepared, size_t step);
  void adopt_late_output(Prepared& prepared, int value);
  void finish_outputs(const Prepared& prepared, std::span<TensorRef> outputs);
  void* reserve(Buffer& buffer, size_t bytes);

  const Graph& graph_;
  const Program& program_;
  std::span<void* const> weights_;
  DeviceContext& device_;
  std::vector<std::unique_ptr<Prepared>> cache_;     // most recently used first
  std::vector<int> input_of_root_, output_of_root_;  // by value: graph input / output whose memory it is, or -1
  std::vector<std::vector<std::string>> mentioned_;  // by step: symbols in the op's fields
  std::vector<void*> pointers_;                      // by root value, during a run
  std::vector<Buffer> late_, own_outputs_;           // by value; by output
  std::unique_ptr<Buffer> arena_, late_workspace_;
};

}  // namespace lathe
