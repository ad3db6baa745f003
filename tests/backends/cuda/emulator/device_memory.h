// The memory of the device: allocations of the host, far enough apart that an access beyond one falls into none.
// Fresh memory is all ones, which is NaN to every float: who reads what nothing wrote sees it in the result.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <shared_mutex>

namespace lathe::emulator {

struct Extent {
  uint64_t begin = 0, end = 0;
  bool holds(uint64_t from, uint64_t to) const { return begin <= from && to <= end; }
};

class DeviceMemory {
 public:
  DeviceMemory() = default;
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  // 0 when there is not as much.
  uint64_t allocate(size_t bytes);
  bool release(uint64_t pointer);  // false for what was not allocated
  size_t total_bytes() const;
  size_t free_bytes() const;
  // Variables of modules.
  void add(uint64_t begin, size_t bytes);
  void remove(uint64_t begin);
  // The allocation that an address lies in.
  std::optional<Extent> find(uint64_t address) const;

 private:
  struct Allocation {
    size_t bytes;
    bool owned;
  };
  mutable std::shared_mutex mutex_;
  std::map<uint64_t, Allocation> allocations_;
  size_t used_ = 0;
};

DeviceMemory& device_memory();

}  // namespace lathe::emulator
