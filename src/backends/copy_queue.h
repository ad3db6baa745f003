// Copies to a device that go on beside its steps: how weights come through that have no place on it for good
// (DeviceContext::make_copy_queue).
#pragma once

#include <cstddef>
#include <span>

namespace lathe {

// Copies run in their order, and so do the steps of the context; what happens in which order between the two is said
// slot by slot. Calls only enqueue.
class CopyQueue {
 public:
  virtual ~CopyQueue() = default;
  virtual void copy(void* device, std::span<const std::byte> host) = 0;
  // Steps after await_copied wait for the copies before the slot's last mark_copied.
  virtual void mark_copied(size_t slot) = 0;
  virtual void await_copied(size_t slot) = 0;
  // Copies after await_used wait for the steps before the slot's last mark_used, if there was any.
  virtual void mark_used(size_t slot) = 0;
  virtual void await_used(size_t slot) = 0;
};

}  // namespace lathe
