// Which tokens of a padded batch are worth computing.
#pragma once

#include "graph/ops/field_types.h"

namespace lathe {

// (mask [batch, length]) -> (tokens i32 [T], starts i32 [batch + 2], rows i32 [batch, length]); T is bound at run time.
//
// A row of the mask is a sequence. Where it holds nothing but 0 and 1, and `kept` somewhere, its tokens at `kept` are
// kept, and its first one if keep_first; any other row is kept whole. `tokens` lists the kept ones in order, each as
// its index in [batch * length]; those of sequence s are starts[s] .. starts[s + 1]. T is their number rounded up
// (packed_size() in graph/token_packing.h), so that batches of similar lengths share a size: the rest of `tokens` is 0,
// and makes up the last sequence, from starts[batch] on. rows says where each token is in `tokens`, -1 for those left
// out.
struct PackTokens {
  static constexpr std::string_view kName = "pack_tokens";
  int64_t kept = 1;  // or 0, of a mask that marks padding
  bool keep_first = true;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("kept", s.kept);
    visit("keep_first", s.keep_first);
  }
};

}  // namespace lathe
