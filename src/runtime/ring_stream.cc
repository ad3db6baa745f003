#include "runtime/ring_stream.h"

#include "base/error.h"

namespace lathe {

RingStream::RingStream(const StreamPlan& plan, std::span<const std::vector<StreamedBytes>> groups,
                       std::span<void* const> residents, DeviceContext& device)
    : plan_(plan), groups_(groups), ring_(device), addresses_(residents.begin(), residents.end()) {
  queue_ = device.make_copy_queue(StreamPlan::kSlots);
  if (queue_ == nullptr) fail(ErrorCode::unsupported, "this device cannot stream weights");
  auto* const ring = static_cast<std::byte*>(ring_.reserve(plan.slot_bytes * StreamPlan::kSlots));
  for (size_t g = 0; g < plan.groups.size(); ++g)
    for (const size_t weight : plan.groups[g].weights)
      addresses_[weight] = ring + g % StreamPlan::kSlots * plan.slot_bytes + plan.offsets[weight];
  for (size_t g = 0; g < std::min(plan.groups.size(), StreamPlan::kSlots); ++g) load(g);
}

void RingStream::load(size_t group) {
  const size_t slot = group % StreamPlan::kSlots;
  held_[slot].reset();
  queue_->await_used(slot);
  for (const StreamedBytes& part : groups_[group])
    queue_->copy(static_cast<std::byte*>(ring_.data()) + slot * plan_.slot_bytes + part.offset, part.bytes);
  queue_->mark_copied(slot);
  held_[slot] = group;
}

// Loading ahead is what a run that goes through does; one that was broken off leaves the wrong groups behind.
void RingStream::before(size_t step) {
  const int group = plan_.group_of_step[step];
  if (group < 0 || plan_.groups[static_cast<size_t>(group)].first_step != step) return;
  const size_t slot = static_cast<size_t>(group) % StreamPlan::kSlots;
  if (held_[slot] != static_cast<size_t>(group)) load(static_cast<size_t>(group));
  queue_->await_copied(slot);
}

// The slot's next group, in this run or the one after it.
void RingStream::after(size_t step) {
  const int group = plan_.group_of_step[step];
  if (group < 0 || plan_.groups[static_cast<size_t>(group)].last_step != step) return;
  const size_t slot = static_cast<size_t>(group) % StreamPlan::kSlots;
  queue_->mark_used(slot);
  size_t next = static_cast<size_t>(group) + StreamPlan::kSlots;
  if (next >= plan_.groups.size()) next = slot;
  if (next != static_cast<size_t>(group)) load(next);
}

}  // namespace lathe
