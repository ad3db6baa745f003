// sentencepiece's precompiled character map: a double-array trie (Darts) of strings, each with its replacement. The
// blob is: size of the trie in bytes (u32, little-endian), the trie's units, the replacements, each ended by a zero
// byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/pipeline.h"

namespace lathe::text {

class Charsmap {
 public:
  struct Match {
    size_t length;
    std::string_view replacement;
  };

  // An empty blob maps nothing. Throws Error(invalid_model).
  explicit Charsmap(std::string_view blob);

  // The first, or the longest, string of the map that `text` starts with.
  std::optional<Match> shortest_prefix(std::string_view text) const { return find(text, true); }
  std::optional<Match> longest_prefix(std::string_view text) const { return find(text, false); }

 private:
  std::optional<Match> find(std::string_view text, bool stop_at_first) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

// As Hugging Face applies the map: to each grapheme cluster of less than six bytes, or else to its characters, the
// shortest prefix of which replaces the whole.
class PrecompiledNormalizer final : public Normalizer {
 public:
  explicit PrecompiledNormalizer(std::string_view blob) : map_(blob) {}
  std::string normalize(std::string_view text) const override;

 private:
  Charsmap map_;
};

}  // namespace lathe::text
