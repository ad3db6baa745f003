#include "text/byte_trie.h"

#include <algorithm>

#include "base/error.h"

namespace lathe::text {

// Breadth first, so that the children of a node are neighbours.
ByteTrie::ByteTrie(std::vector<Entry> entries) {
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.key < b.key; });
  struct Range {
    uint32_t node;      // kNone: above the roots
    size_t begin, end;  // the entries below the node
    size_t depth;
  };
  std::vector<Range> queue = {{kNone, 0, entries.size(), 0}};
  for (size_t next = 0; next < queue.size(); ++next) {
    auto [node, begin, end, depth] = queue[next];
    while (begin < end && entries[begin].key.size() == depth) {
      LATHE_CHECK(node != kNone);
      nodes_[node].value = static_cast<uint32_t>(values_.size());
      values_.push_back(entries[begin++].value);
    }
    if (node != kNone) nodes_[node].first_child = static_cast<uint32_t>(nodes_.size());
    while (begin < end) {
      const char byte = entries[begin].key[depth];
      const size_t first = begin;
      while (begin < end && entries[begin].key[depth] == byte) ++begin;
      const auto created = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back().label = static_cast<unsigned char>(byte);
      if (node == kNone)
        roots_[static_cast<unsigned char>(byte)] = created;
      else
        ++nodes_[node].children;
      queue.push_back({created, first, begin, depth + 1});
    }
  }
}

std::optional<ByteTrie::Match> ByteTrie::longest_prefix(std::string_view text) const {
  std::optional<Match> longest;
  for_each_prefix(text, [&](const Match& match) { longest = match; });
  return longest;
}

}  // namespace lathe::text
