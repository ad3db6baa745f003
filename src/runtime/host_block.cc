#include "runtime/host_block.h"

#include <sys/mman.h>

#include <algorithm>

#include "base/error.h"

namespace lathe {

HostBlock allocate_on_host(size_t bytes) {
  constexpr size_t kHugePage = size_t{2} << 20, kLine = 64;
  const size_t alignment = bytes >= kHugePage ? kHugePage : kLine;
  const size_t rounded = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  HostBlock block{{static_cast<std::byte*>(std::aligned_alloc(alignment, rounded)), {}}, bytes, rounded};
  if (block.memory == nullptr) fail(ErrorCode::out_of_memory, "cannot allocate {} bytes for a weight", bytes);
  if (alignment == kHugePage) madvise(block.memory.get(), rounded, MADV_HUGEPAGE);
  return block;
}

}  // namespace lathe
