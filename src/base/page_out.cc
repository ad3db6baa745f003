#include "base/page_out.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace lathe {

void page_out(std::span<const std::byte> bytes) noexcept {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t before = (page - reinterpret_cast<uintptr_t>(bytes.data()) % page) % page;  // of the first whole page
  if (bytes.size() < before + page) return;
#ifdef MADV_PAGEOUT
  madvise(const_cast<std::byte*>(bytes.data()) + before, (bytes.size() - before) / page * page, MADV_PAGEOUT);
#endif
}

}  // namespace lathe
