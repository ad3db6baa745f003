#include "text/byte_trie.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lathe::text {
namespace {

std::vector<size_t> prefixes(const ByteTrie& trie, std::string_view text) {
  std::vector<size_t> values;
  trie.for_each_prefix(text, [&](const ByteTrie::Match& match) { values.push_back(match.value); });
  return values;
}

TEST(ByteTrie, FindsAllPrefixesTheShortestFirst) {
  const ByteTrie trie({{"ab", 2}, {"a", 1}, {"abcd", 4}, {"b", 9}, {"ab", 7}});
  EXPECT_EQ(prefixes(trie, "abcde"), (std::vector<size_t>{1, 7, 4}));
  EXPECT_EQ(prefixes(trie, "abc"), (std::vector<size_t>{1, 7}));
  EXPECT_EQ(prefixes(trie, ""), std::vector<size_t>{});
  EXPECT_EQ(trie.longest_prefix("abcx")->length, 2u);
  EXPECT_FALSE(trie.longest_prefix("c"));
  EXPECT_TRUE(trie.may_start_with('b'));
  EXPECT_FALSE(trie.may_start_with('c'));
}

TEST(ByteTrie, NodesMayHaveAllBytesAsChildren) {
  std::vector<ByteTrie::Entry> entries;
  for (int byte = 0; byte < 256; ++byte)
    entries.push_back({std::string("x") + static_cast<char>(byte), static_cast<size_t>(byte)});
  const ByteTrie trie(entries);
  for (const auto& [key, value] : entries) EXPECT_EQ(prefixes(trie, key + "y"), std::vector<size_t>{value});
}

TEST(ByteTrie, MayBeEmpty) {
  EXPECT_TRUE(ByteTrie().empty());
  EXPECT_TRUE(ByteTrie(std::vector<ByteTrie::Entry>{}).empty());
  EXPECT_FALSE(ByteTrie().longest_prefix("a"));
}

}  // namespace
}  // namespace lathe::text
