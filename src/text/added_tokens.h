// Tokens that are recognised in the text itself before the model sees it, such as "[MASK]". Those marked `normalized`
// are looked for in the normalised text, the others in the raw text, where the longest one wins.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

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

  std::vector<Segment> split_raw(std::string_view text) const { return split(text, raw_); }
  std::vector<Segment> split_normalized(std::string_view text) const { return split(text, normalized_); }

  const Vocabulary& vocabulary() const { return vocabulary_; }
  bool is_special(TokenId id) const { return special_.contains(id); }

 private:
  std::vector<Segment> split(std::string_view text, const ByteTrie& trie) const;

  std::vector<AddedToken> tokens_;
  ByteTrie raw_, normalized_;  // values are indices into tokens_
  Vocabulary vocabulary_;
  std::unordered_set<TokenId> special_;
};

}  // namespace lathe::text
