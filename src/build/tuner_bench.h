// One node at one set of sizes, with memory behind its operands and results, for timing its kernels.
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <vector>

#include "build/compiler.h"

namespace lathe {

class TunerBench {
 public:
  // All arguments outlive the bench.
  TunerBench(const Node& node, const CompiledModel& model, const SymbolBindings& symbols, DeviceContext& device)
      : node_(node), backend_(*model.backend), weights_(model.weights), symbols_(symbols), device_(device) {}
  ~TunerBench();
  TunerBench(const TunerBench&) = delete;
  TunerBench& operator=(const TunerBench&) = delete;

  // Comes first. False when a size is not known.
  bool evaluate_sizes() { return evaluate(node_.inputs(), inputs_) && evaluate(node_.outputs(), outputs_); }

  std::string key() const;                                     // of the timing cache
  int64_t elements() const { return outputs_[0].elements(); }  // of the first output
  // Of a run, the median of several. Throws what preparing and running throws.
  double microseconds(const Candidate& candidate);

 private:
  struct Operand {
    size_t input;
    WeightLayout layout;
    std::vector<void*> copies;  // of a constant
  };

  using Clock = std::chrono::steady_clock;
  // Microseconds.
  template <class Run>
  double time_of(const Run& run);
  template <class Run>
  double median_time(const Run& run, Clock::duration at_least);

  bool has_open_sizes() const;
  bool evaluate(std::span<Value* const> values, std::vector<TensorRef>& refs);
  void* allocate(size_t bytes);
  // The memory of each input becomes that of the given run.
  void take_copies(int run);
  std::vector<void*> operand(size_t i, const WeightLayout& layout);
  std::vector<void*> make_operand(size_t i, const WeightLayout& layout);
  std::vector<void*> upload_copies(std::span<const std::byte> bytes);
  void* upload(std::span<const std::byte> bytes);

  const Node& node_;
  const Backend& backend_;
  const WeightSource& weights_;
  const SymbolBindings& symbols_;
  DeviceContext& device_;
  std::vector<std::vector<int64_t>> dims_;
  std::vector<TensorRef> inputs_, outputs_;
  std::vector<Operand> operands_;           // the same for all kernels: weights as they are, the rest made up
  std::vector<std::vector<void*>> copies_;  // of each input, for the kernel that is being timed
  std::vector<void*> memory_;
};

}  // namespace lathe
