#include "backends/cpu/cpu_context.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "base/error.h"

namespace lathe::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

// What one core does at a modest guess, per microsecond.
constexpr double kFlops = 1e5, kBytes = 2e4;

}  // namespace

void CpuContext::announce(const Cost& cost) {
  const double microseconds = cost.flops / kFlops + cost.bytes / kBytes;
  current_ = microseconds < share_above_ ? &alone_ : &team_;
}

// Large blocks ask for 2 MB pages: fewer TLB misses are worth several percent on weights and activations.
void* CpuContext::allocate(size_t bytes) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = rounded < bytes ? nullptr : std::aligned_alloc(alignment, rounded);
  if (memory == nullptr) fail(ErrorCode::out_of_memory, "cannot allocate {} bytes", bytes);
  if (alignment == kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);
  return memory;
}

void CpuContext::release(void* memory) noexcept { std::free(memory); }

void CpuContext::upload(void* device, std::span<const std::byte> host) { copy(device, host.data(), host.size()); }

void CpuContext::download(std::span<std::byte> host, const void* device) { copy(host.data(), device, host.size()); }

void CpuContext::copy(void* destination, const void* source, size_t bytes) {
  if (bytes > 0) std::memcpy(destination, source, bytes);
}

}  // namespace lathe::cpu
