// Brings the weights that have no place on the device to a ring of buffers, ahead of the steps that read them, while
// other steps run. Of a session: each has a ring of its own. See stream_plan.h for which weights these are.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "backends/copy_queue.h"
#include "runtime/device_buffer.h"
#include "runtime/stream_plan.h"
#include "runtime/weight_stream.h"

namespace lathe {

// A group on the host: the bytes of its weights, and where they go in its slot.
struct StreamedBytes {
  size_t offset = 0;
  std::span<const std::byte> bytes;
};

class RingStream : public WeightStream {
 public:
  // `residents`: addresses of all weights, null for those that stream. The arguments outlive it. Throws
  // Error(unsupported) for a device that cannot copy beside its steps.
  RingStream(const StreamPlan& plan, std::span<const std::vector<StreamedBytes>> groups,
             std::span<void* const> residents, DeviceContext& device);

  std::span<void* const> addresses() const override { return addresses_; }
  void before(size_t step) override;
  void after(size_t step) override;

 private:
  void load(size_t group);

  const StreamPlan& plan_;
  std::span<const std::vector<StreamedBytes>> groups_;
  DeviceBuffer ring_;
  std::vector<void*> addresses_;
  std::optional<size_t> held_[StreamPlan::kSlots];  // the group that each slot holds, or will when copies are done
  std::unique_ptr<CopyQueue> queue_;                // last: it goes before the ring
};

}  // namespace lathe
