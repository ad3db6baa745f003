// A step that a device has no kernel for and leaves to the host: its operands are brought over, a step of a host
// backend runs, and the results go back, as do operands that it writes. Constant operands stay on the host, packed when
// the step is made.
#pragma once

#include <algorithm>

#include "backends/backend.h"

namespace lathe {

// Memory of the host, aligned for vector loads, that grows.
class HostBuffer {
 public:
  std::byte* resize(size_t bytes) {
    lines_.resize(std::max(lines_.size(), (bytes + sizeof(Line) - 1) / sizeof(Line)));
    return reinterpret_cast<std::byte*>(lines_.data());
  }

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> lines_;
};

class HostStep : public Step {
 public:
  // `lowered`: what a candidate of `host` made of `node`; it has a step.
  HostStep(const Node& node, Lowered lowered, const Backend& host);

  std::unique_ptr<StepState> prepare(const StepIo& io) const override;
  void run(const StepIo& io, const StepState* state, void* workspace, DeviceContext& device) const override;
  bool recordable() const override { return false; }  // it waits for the device

 private:
  class Call;

  std::unique_ptr<Step> step_;
  std::vector<std::unique_ptr<HostBuffer>> constants_;  // by operand, null for those that a run brings
  std::span<const size_t> written_;                     // operands
};

}  // namespace lathe
