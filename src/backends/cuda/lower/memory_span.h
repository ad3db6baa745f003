// Which memory launches touch, for those that look whether they can become one.
#pragma once

#include <cstddef>

namespace lathe::cuda {

struct MemorySpan {
  const std::byte* begin = nullptr;
  const std::byte* end = nullptr;
  MemorySpan(const void* data, size_t bytes) : begin(static_cast<const std::byte*>(data)), end(begin + bytes) {}
  bool overlaps(const MemorySpan& other) const { return begin < other.end && other.begin < end; }
};

}  // namespace lathe::cuda
