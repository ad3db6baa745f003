// The body of a Loop or Scan, run over and over: hands carried values from one iteration to the next and stacks slices.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "runtime/control_flow.h"
#include "runtime/executor.h"

namespace lathe {

// Throws Error(invalid_argument) when the body gives other sizes than the program around it expects.
void check_sizes(std::span<const int64_t> actual, std::span<const int64_t> expected);

class LoopBody {
 public:
  // What the body takes: `head` inputs of the loop itself, carried values, slices, captured values. What it gives:
  // `results` of the loop itself, carried values, slices to stack. The operands of the node are laid out like the
  // inputs of the body.
  struct Signature {
    size_t head, carried, slices, results;
  };
  struct Iteration {
    bool last;                          // if nothing stops the loop earlier
    int64_t most;                       // iterations that there can be
    std::span<const int64_t> reversed;  // by stacked output: fill it from the end; empty: none
  };

  LoopBody(const ProgramStep& step, std::span<void* const> weights, DeviceContext& device, const Signature& signature);

  // Carried and captured values become what the operands are.
  void begin(const ControlIo& io);
  void set_input(size_t input, const TensorRef& ref) { inputs_[input] = ref; }
  void run(const ControlIo& io, const Iteration& iteration);
  const TensorRef& output(size_t output) const { return outputs_[output]; }  // of the last iteration
  // Brings carried values and stacks to where the node's results belong.
  void finish(const ControlIo& io);

 private:
  using Carried = std::array<LateValue, 2>;  // an iteration reads one and writes the other
  struct Stack {
    std::vector<int64_t> slice;  // sizes, which the first iteration settles
    size_t slice_bytes = 0;
    std::byte* place = nullptr;  // of this iteration's slice
  };

  LateValue& written(size_t carried) { return carried_[carried][static_cast<size_t>(done_ % 2)]; }
  LateValue& read(size_t carried) { return carried_[carried][static_cast<size_t>((done_ + 1) % 2)]; }
  void* place_carried(const ControlIo& io, size_t carried, const std::vector<int64_t>& dims, bool last);
  void hand_on(size_t carried);
  void place_slice(const ControlIo& io, size_t stack, std::span<const int64_t> dims, const Iteration& iteration);
  void finish_carried(const ControlIo& io, size_t carried);
  void finish_stack(const ControlIo& io, size_t stack);

  const Node& node_;
  DeviceContext& device_;
  const Signature signature_;
  Executor body_;
  std::vector<TensorRef> inputs_, outputs_;
  std::vector<const std::vector<int64_t>*> dims_;  // of the outputs, where they are known before
  std::vector<Carried> carried_;
  std::vector<Stack> stacks_;
  int64_t done_ = 0;  // iterations
};

}  // namespace lathe
