// A set of byte strings, each with a value, that finds the longest one a text starts with in one walk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lathe::text {

class ByteTrie {
 public:
  struct Match {
    size_t length;
    size_t value;
  };

  // `key` must not be empty; a key that is there already gets the new value.
  void insert(std::string_view key, size_t value);
  std::optional<Match> longest_prefix(std::string_view text) const;
  bool empty() const { return children_.empty(); }

 private:
  static uint64_t edge(size_t node, char byte) { return uint64_t{node} << 8 | static_cast<unsigned char>(byte); }

  std::unordered_map<uint64_t, size_t> children_;            // (node, byte) -> node; the root is node 0
  std::vector<std::optional<size_t>> values_{std::nullopt};  // by node: the value of the key that ends there
};

}  // namespace lathe::text
