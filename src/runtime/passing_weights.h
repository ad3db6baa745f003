// Weights of the host that are in memory for the length of a step: each is brought into the layout that the step wants
// right before it, from where the graph or a plan has it, and its memory given back right behind. So a model runs in
// the memory of its largest layer, and every run pays for the packing. Of a session: each has memory of its own.
#pragma once

#include <vector>

#include "build/program.h"
#include "build/weight_source.h"
#include "runtime/host_block.h"
#include "runtime/weight_stream.h"

namespace lathe {

class PassingWeights : public WeightStream {
 public:
  // `residents`: addresses of all weights, null for those that pass. The arguments outlive it.
  PassingWeights(const Program& program, const Backend& backend, const WeightSource& source,
                 std::span<void* const> residents);

  std::span<void* const> addresses() const override { return addresses_; }
  void before(size_t step) override;
  void after(size_t step) override;

 private:
  const Program& program_;
  const Backend& backend_;
  const WeightSource& source_;
  std::vector<std::vector<size_t>> weights_;  // by step: those that it reads and that pass
  std::vector<HostBlock> blocks_;             // by weight; empty for residents
  std::vector<void*> addresses_;
};

}  // namespace lathe
