// Tokens that are recognised in the text itself before the model sees it, such as "[MASK]". Those marked `normalized`
// are looked for in the normalised text, the others in the raw text, where the longest one wins.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "text/byte_range.h"
#include "text/byte_trie.h"
#include "text/pipeline.h"

namespace lathe::text {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool single_word = false;  // only where no word character stands beside it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // takes the white space behind it along
  bool normalized = false;
  bool special = false;  // left out when decoding for people
};

class AddedTokens {
 public:
  // A stretch of text, or the added token that stood there.
  struct Segment {
    std::string_view text;
    std::optional<TokenId> id;
  };

  AddedTokens() = default;
  // `normalizer` may be null.
  AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer);

  std::vector<Segment> split_raw(std::string_view text) const;
  std::vector<Segment> split_normalized(std::string_view text) const;

  // For texts with plain ranges (sorted, disjoint), in which special tokens are no more than text. As ranges would be
  // lost on the way, special tokens are all looked for in the raw text, and none in the normalised one.
  std::vector<Segment> split_raw(std::string_view text, std::span<const ByteRange> plain) const;
  std::vector<Segment> split_normalized_without_special(std::string_view text) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }
  bool is_special(TokenId id) const { return special_.contains(id); }

 private:
  // `find` gives the match at a position of the text, if there is one.
  template <class Find>
  std::vector<Segment> split(std::string_view text, const ByteTrie& trie, Find&& find) const;
  // The longest match that `allowed(token, length)` lets pass.
  template <class Allowed>
  std::optional<ByteTrie::Match> longest(const ByteTrie& trie, std::string_view text, const Allowed& allowed) const;

  std::vector<AddedToken> tokens_;
  ByteTrie raw_, normalized_;  // values are indices into tokens_
  ByteTrie raw_and_special_;
  Vocabulary vocabulary_;
  std::unordered_set<TokenId> special_;
};

}  // namespace lathe::text
