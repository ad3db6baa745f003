#include "base/page_out.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace lathe {
namespace {

// Of the whole pages within.
void advise(std::span<const std::byte> bytes, int advice) noexcept {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t before = (page - reinterpret_cast<uintptr_t>(bytes.data()) % page) % page;
  if (bytes.size() < before + page) return;
  madvise(const_cast<std::byte*>(bytes.data()) + before, (bytes.size() - before) / page * page, advice);
}

}  // namespace

void page_out([[maybe_unused]] std::span<const std::byte> bytes) noexcept {
#ifdef MADV_PAGEOUT
  advise(bytes, MADV_PAGEOUT);
#endif
}

void forget(std::span<std::byte> bytes) noexcept { advise(bytes, MADV_DONTNEED); }

}  // namespace lathe
