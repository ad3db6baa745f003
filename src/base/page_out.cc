#include "base/page_out.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace lathe {

void page_out(std::span<const std::byte> bytes) noexcept {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size()) / page * page;
#ifdef MADV_PAGEOUT
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_PAGEOUT);
#endif
}

}  // namespace lathe
