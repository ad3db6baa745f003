// How often this program has asked for memory, on all threads, whatever the way (operator new ends in malloc).
#pragma once

#include <atomic>
#include <cstddef>

namespace lathe::test {

size_t allocations();

}  // namespace lathe::test
