#include "tests/backends/cuda/emulator/device_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "tests/backends/cuda/emulator/settings.h"

namespace lathe::emulator {
namespace {

constexpr size_t kAlignment = 256;                 // as the driver's
constexpr size_t kGap = 4096;                      // before and after
constexpr size_t kLargestFill = size_t{64} << 20;  // larger ones keep the zeros of the host, which cost no memory

std::byte* host(uint64_t address) {
  return reinterpret_cast<std::byte*>(
      address);  // NOLINT(performance-no-int-to-ptr): addresses of the driver are numbers
}

}  // namespace

DeviceMemory& device_memory() {
  static DeviceMemory memory;
  return memory;
}

DeviceMemory::~DeviceMemory() {
  for (const auto& [begin, allocation] : allocations_)
    if (allocation.owned) std::free(host(begin - kGap));
}

uint64_t DeviceMemory::allocate(size_t bytes) {
  const std::unique_lock lock(mutex_);
  if (bytes == 0 || bytes > total_bytes() - used_) return 0;
  const size_t whole = (bytes + 2 * kGap + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, whole);
  if (memory == nullptr) return 0;
  const uint64_t begin = reinterpret_cast<uintptr_t>(memory) + kGap;
  if (bytes <= kLargestFill) std::memset(memory, 0xff, whole);
  allocations_[begin] = {bytes, true};
  used_ += bytes;
  return begin;
}

bool DeviceMemory::release(uint64_t pointer) {
  const std::unique_lock lock(mutex_);
  const auto found = allocations_.find(pointer);
  if (found == allocations_.end() || !found->second.owned) return false;
  used_ -= found->second.bytes;
  std::free(host(pointer - kGap));
  allocations_.erase(found);
  return true;
}

size_t DeviceMemory::total_bytes() const { return settings().memory_bytes; }

size_t DeviceMemory::free_bytes() const {
  const std::shared_lock lock(mutex_);
  return total_bytes() - used_;
}

void DeviceMemory::add(uint64_t begin, size_t bytes) {
  const std::unique_lock lock(mutex_);
  allocations_[begin] = {bytes, false};
}

void DeviceMemory::remove(uint64_t begin) {
  const std::unique_lock lock(mutex_);
  allocations_.erase(begin);
}

std::optional<Extent> DeviceMemory::find(uint64_t address) const {
  const std::shared_lock lock(mutex_);
  auto found = allocations_.upper_bound(address);
  if (found == allocations_.begin()) return std::nullopt;
  --found;
  if (address >= found->first + found->second.bytes) return std::nullopt;
  return Extent{found->first, found->first + found->second.bytes};
}

}  // namespace lathe::emulator
