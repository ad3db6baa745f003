// The integers of one step over a paged cache (graph/ops/paged_attention.h), and what they must fulfil. Shared by all
// who run the op on the host.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

namespace lathe {

struct PagedStep {
  int64_t tokens = 0, blocks = 0, block_size = 0, table_width = 0;
  std::span<const int32_t> starts;    // [sequences + 1]
  std::span<const int32_t> contexts;  // [sequences]
  std::span<const int32_t> table;     // [sequences, table_width]
  std::span<const int32_t> prefixes;  // [sequences], or empty
  // Of keys of another text than the queries', [sequences + 1], and their number; empty: each token brings its own.
  std::span<const int32_t> key_starts;
  int64_t keys = 0;

  int64_t sequences() const { return static_cast<int64_t>(contexts.size()); }
  int64_t start(int64_t s) const { return starts[static_cast<size_t>(s)]; }
  int64_t context(int64_t s) const { return contexts[static_cast<size_t>(s)]; }
  int64_t new_tokens(int64_t s) const { return start(s + 1) - start(s); }
  bool is_cross() const { return !key_starts.empty(); }
  int64_t key_start(int64_t s) const { return (is_cross() ? key_starts : starts)[static_cast<size_t>(s)]; }
  int64_t new_keys(int64_t s) const { return key_start(s + 1) - key_start(s); }
  // The index of the first new token of a sequence, and of its first new key.
  int64_t first_new(int64_t s) const { return context(s) - new_tokens(s); }
  int64_t first_new_key(int64_t s) const { return context(s) - new_keys(s); }
  int64_t block(int64_t s, int64_t j) const { return table[static_cast<size_t>(s * table_width + j / block_size)]; }

  // The keys that the token with index j of sequence s sees: [first, end).
  int64_t first_key(int64_t j, int64_t window, bool chunked) const {
    if (window == 0) return 0;
    return chunked ? j - j % window : std::max<int64_t>(j - window + 1, 0);
  }
  int64_t end_key(int64_t s, int64_t j) const {
    if (is_cross()) return context(s);
    const int64_t prefix = prefixes.empty() ? 0 : prefixes[static_cast<size_t>(s)];
    return prefix > j ? (prefix < context(s) ? prefix : context(s)) : j + 1;
  }
};

// Throws Error(invalid_argument): starts that do not begin at 0, decrease or exceed the tokens; a context shorter than
// its new keys or longer than its row of the table; a block that does not exist. A sequence without new tokens and keys
// may hold anything.
void check(const PagedStep& step);

}  // namespace lathe
