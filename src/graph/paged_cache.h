// How the rows of a paged cache (graph/ops/paged_attention.h) lie. Shared by all who write or read them.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace lathe {

// A row is the features of one token of one head. In i8 and f8e4m3 it has a scale of its own: what a block holds of a
// head is block_size rows of bytes, then as many scales, f32. The last axis of such a cache is therefore by four longer
// than a row. A row is written as round(x / scale) with scale = max |x| / largest(), and read as that times scale; one
// that holds an infinity or a NaN is all NaN.
struct CacheRows {
  DType type;
  int64_t features, block_size;

  bool scaled() const { return bit_width(type) == 8; }
  float largest() const { return type == DType::i8 ? 127.0f : 448.0f; }
  int64_t columns() const { return features + (scaled() ? int64_t{sizeof(float)} : 0); }
  // In bytes; `head` counts heads of all blocks.
  int64_t row_bytes() const { return features * bit_width(type) / 8; }
  int64_t head_bytes() const { return block_size * columns() * bit_width(type) / 8; }
  int64_t row(int64_t head, int64_t slot) const { return head * head_bytes() + slot * row_bytes(); }
  int64_t scale(int64_t head, int64_t slot) const {
    return head * head_bytes() + block_size * row_bytes() + slot * int64_t{sizeof(float)};
  }
};

}  // namespace lathe
