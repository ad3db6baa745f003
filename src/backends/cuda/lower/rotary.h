// Rotary embeddings that attention over a paged cache computes itself, while it stores keys: their launches are left
// with the context (Deferred) until that step knows.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/kernels/rotary_args.h"
#include "backends/cuda/lower/lower.h"

namespace lathe::cuda {

// What kernels/rotary.cuh wants defined for a node, but for VECTOR.
std::vector<std::string> rotary_defines(const Node& rotary);

// Queries, then keys.
class RotaryLaunch : public Deferred {
 public:
  static constexpr size_t kMost = 2;
  struct One {
    RotaryArgs args;
    const Kernel* kernel;
    unsigned blocks, threads;
  };
  // `late`: the kernel before holds back the next (Deferred).
  explicit RotaryLaunch(bool late) : late_(late) {}
  void add(const One& one) { all_.push_back(one); }
  bool late() const { return late_; }
  const std::vector<One>& all() const { return all_; }
  void launch(CUstream stream) override {
    for (const One& one : all_) one.kernel->launch(stream, {one.blocks}, one.threads, 0, one.args);
  }

 private:
  std::vector<One> all_;
  bool late_;
};

}  // namespace lathe::cuda
