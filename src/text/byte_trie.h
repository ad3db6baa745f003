// A set of byte strings, each with a value, that finds those which a text starts with in one walk.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lathe::text {

class ByteTrie {
 public:
  struct Entry {
    std::string key;  // not empty
    size_t value;
  };
  struct Match {
    size_t length;
    size_t value;
  };

  ByteTrie() = default;
  // Of equal keys the last one's value counts.
  explicit ByteTrie(std::vector<Entry> entries);

  bool empty() const { return nodes_.empty(); }
  // False means that no key starts with `byte`.
  bool may_start_with(char byte) const { return roots_[static_cast<unsigned char>(byte)] != kNone; }
  // Calls visit(Match) for each key that `text` starts with, the shortest first.
  template <class Visit>
  void for_each_prefix(std::string_view text, const Visit& visit) const;
  std::optional<Match> longest_prefix(std::string_view text) const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Node {
    uint32_t first_child = 0, children = 0;  // children are neighbours, sorted by label
    uint32_t value = kNone;                  // index into values_
    unsigned char label = 0;
  };

  uint32_t child(const Node& node, char byte) const;

  std::array<uint32_t, 256> roots_ = [] {
    std::array<uint32_t, 256> none{};
    none.fill(kNone);
    return none;
  }();
  std::vector<Node> nodes_;
  std::vector<size_t> values_;
};

inline uint32_t ByteTrie::child(const Node& node, char byte) const {
  const auto label = static_cast<unsigned char>(byte);
  uint32_t first = node.first_child, count = node.children;
  while (count > 8) {  // halves while that saves comparisons
    const uint32_t half = count / 2;
    if (nodes_[first + half].label <= label)
      first += half, count -= half;
    else
      count = half;
  }
  for (uint32_t i = first; i < first + count; ++i)
    if (nodes_[i].label == label) return i;
  return kNone;
}

template <class Visit>
void ByteTrie::for_each_prefix(std::string_view text, const Visit& visit) const {
  if (text.empty()) return;
  uint32_t node = roots_[static_cast<unsigned char>(text[0])];
  for (size_t length = 1; node != kNone; ++length) {
    if (nodes_[node].value != kNone) visit(Match{length, values_[nodes_[node].value]});
    if (length == text.size()) return;
    node = child(nodes_[node], text[length]);
  }
}

}  // namespace lathe::text
