// Replaces the C library's allocation functions by ones that count, and hand on to the library's own.
#include <cerrno>
#include <cstddef>
#include <cstdlib>

#include "tests/runtime/counting_malloc.h"

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}

namespace lathe::test {
namespace {
std::atomic<size_t> calls{0};
}
size_t allocations() { return calls.load(); }
}  // namespace lathe::test

extern "C" {
void* malloc(size_t bytes) {
  ++lathe::test::calls;
  return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) {
  ++lathe::test::calls;
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, size_t bytes) {
  ++lathe::test::calls;
  return __libc_realloc(memory, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) {
  ++lathe::test::calls;
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** memory, size_t alignment, size_t bytes) {
  ++lathe::test::calls;
  *memory = __libc_memalign(alignment, bytes);
  return *memory == nullptr ? ENOMEM : 0;
}
}
