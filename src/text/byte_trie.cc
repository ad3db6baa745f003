#include "text/byte_trie.h"

#include "base/error.h"

namespace lathe::text {

void ByteTrie::insert(std::string_view key, size_t value) {
  LATHE_CHECK(!key.empty());
  size_t node = 0;
  for (const char byte : key) {
    const auto [child, added] = children_.try_emplace(edge(node, byte), values_.size());
    if (added) values_.emplace_back();
    node = child->second;
  }
  values_[node] = value;
}

std::optional<ByteTrie::Match> ByteTrie::longest_prefix(std::string_view text) const {
  std::optional<Match> longest;
  size_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto child = children_.find(edge(node, text[i]));
    if (child == children_.end()) break;
    node = child->second;
    if (values_[node]) longest = Match{i + 1, *values_[node]};
  }
  return longest;
}

}  // namespace lathe::text
