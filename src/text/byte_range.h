// A stretch of a text, in bytes.
#pragma once

#include <cstddef>

namespace lathe::text {

struct ByteRange {
  size_t begin = 0, end = 0;  // [begin, end)
  bool operator==(const ByteRange&) const = default;
};

}  // namespace lathe::text
