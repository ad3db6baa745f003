#include "base/page_out.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <memory>

namespace lathe {
namespace {

// Of the whole pages within.
void advise(std::span<const std::byte> bytes, int advice) noexcept {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t before = (page - reinterpret_cast<uintptr_t>(bytes.data()) % page) % page;
  if (bytes.size() < before + page) return;
  madvise(const_cast<std::byte*>(bytes.data()) + before, (bytes.size() - before) / page * page, advice);
}

// Whether they are mapped from a file and may not be written to, so that nothing is lost with a page.
bool are_of_a_file(std::span<const std::byte> bytes) noexcept {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> maps(std::fopen("/proc/self/maps", "re"), &std::fclose);
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  char line[512];
  while (maps != nullptr && std::fgets(line, sizeof(line), maps.get()) != nullptr) {
    uintptr_t from = 0, to = 0;
    uint64_t inode = 0;
    char access[5] = {};
    const int fields =
        std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*x %*x:%*x %" SCNu64, &from, &to, access, &inode);
    if (fields != 4 || begin >= to) continue;
    return begin >= from && bytes.size() <= to - begin && access[1] != 'w' && inode != 0;
  }
  return false;
}

}  // namespace

void page_out(std::span<const std::byte> bytes) noexcept {
  if (are_of_a_file(bytes)) return advise(bytes, MADV_DONTNEED);
#ifdef MADV_PAGEOUT
  advise(bytes, MADV_PAGEOUT);
#endif
}

void forget(std::span<std::byte> bytes) noexcept { advise(bytes, MADV_DONTNEED); }

}  // namespace lathe
