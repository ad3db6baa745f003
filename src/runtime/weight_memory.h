// The residency table of an engine: the device address of every weight of a program, and the memory behind those that
// the engine had to make (in another layout than the stored one, aligned, or on a device with memory of its own). The
// others are used where they lie. With a budget, a device with memory of its own gets as many as fit, and the rest
// waits on the host, in memory that is fast to copy from where there is enough of it (ring_stream.h). On the host,
// those that it would have to make may be made for the length of a step instead (passing_weights.h).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "build/constant_id.h"
#include "build/program.h"
#include "build/weight_source.h"
#include "runtime/host_block.h"
#include "runtime/ring_stream.h"

namespace lathe {

class WeightMemory {
 public:
  WeightMemory() = default;
  struct Options {
    size_t budget = 0;  // bytes that weights may take on a device with memory of its own; 0: any
    // Of another program for the same device: weights that it has in the same layout are used where it has them, so it
    // may not be evicted before this. Without a budget.
    const WeightMemory* twin = nullptr;
    // On a device that uses the host's memory, weights are in memory for the length of a step. Without a twin.
    bool passing = false;
    // Called, by the constructor, after each weight that is not used where it lies, and for which its constant will not
    // be read again. On a device with memory of its own that is none: there weights come back.
    std::function<void(const Weight&)> made = {};
  };
  // The arguments outlive it, but for `made`.
  WeightMemory(const Program& program, const Backend& backend, const WeightSource& source, const Options& options);
  ~WeightMemory();
  WeightMemory(WeightMemory&& other) noexcept { *this = std::move(other); }
  WeightMemory& operator=(WeightMemory&& other) noexcept;

  // Takes the weights off a device with memory of its own; elsewhere nothing happens.
  void evict() noexcept;
  // Brings them back, to other addresses.
  void restore();

  // Null for weights that come and go.
  std::span<void* const> addresses() const { return addresses_; }
  size_t owned_bytes() const { return owned_bytes_; }
  bool streams() const { return !plan_.groups.empty() || passing_; }
  // That a stream takes on the device.
  size_t ring_bytes() const { return plan_.slot_bytes * StreamPlan::kSlots; }
  // For a session that runs on `device`, which streams() its weights.
  std::unique_ptr<WeightStream> make_stream(DeviceContext& device) const;

 private:
  void place_on_host(const Options& options);
  std::span<std::byte> allocate(size_t bytes);
  void* move_to_device(std::span<const std::byte> weight);
  std::optional<std::span<const std::byte>> where_it_lies(const Weight& weight) const;
  std::span<const std::byte> place(const Weight& weight);
  size_t bytes_of(const Weight& weight) const;
  void keep_on_host(const StreamGroup& group);
  void find_shared();

  const Program* program_ = nullptr;
  const Backend* backend_ = nullptr;
  const WeightSource* source_ = nullptr;
  const WeightMemory* twin_ = nullptr;
  std::vector<ConstantId> ids_;            // by weight: what its constant was, which may be gone
  std::vector<int> shared_;                // by weight: that of the twin, or -1
  std::vector<void*> addresses_;           // null while evicted
  std::unique_ptr<DeviceContext> device_;  // owns addresses_; null where they are of the host, and while evicted
  std::vector<HostBlock> owned_;
  size_t owned_bytes_ = 0;
  size_t budget_ = 0;
  bool passing_ = false;  // some weights are
  StreamPlan plan_;
  std::vector<std::vector<StreamedBytes>> groups_;  // by group
  std::vector<std::byte*> pinned_;                  // of device_
  std::vector<HostBlock> unpinned_;
};

}  // namespace lathe
