// Byte-pair encoding: a word starts as its characters, or bytes, and the two neighbours whose merge has the lowest rank
// become one token until nothing merges. Ids are those of Hugging Face's `tokenizers`; sentencepiece's and tiktoken's
// models, whose merges follow from their tokens, are given the merges by merges_by_concatenation(). Dropout, a matter
// of training, is not done.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/byte_trie.h"
#include "text/merge_table.h"
#include "text/pipeline.h"
#include "text/word_cache.h"

namespace lathe::text {

struct BpeOptions {
  // Words come as raw bytes, and the vocabulary has the character of each byte (byte_level.h).
  bool byte_level = false;
  bool byte_fallback = false;            // an unknown character becomes tokens "<0xNN>" if the vocabulary has those
  bool fuse_unk = false;                 // neighbouring unknown characters become one unknown token
  bool ignore_merges = false;            // a word that is a token as a whole is not taken apart
  std::optional<std::string> unk_token;  // none: unknown characters are left out
  std::string continuing_subword_prefix;
  std::string end_of_word_suffix;
  std::vector<std::string> indivisible;  // tokens that are recognised before characters are, the longest first
};

class Bpe final : public TokenModel {
 public:
  // Throws Error(invalid_model) when the unknown token is not in the vocabulary, or an id does not fit 31 bits.
  Bpe(Vocabulary vocabulary, std::span<const Merge> merges, BpeOptions options);
  ~Bpe() override;

  void tokenize(std::string_view word, std::vector<TokenId>& ids) const override;
  void tokenize_all(const Words& words, std::vector<TokenId>& ids) const override;

 private:
  struct Scratch;
  class Lease;

  void find_units();
  bool can_cut_at_marks(std::span<const Merge> merges) const;
  void tokenize_known(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const;
  void tokenize_new(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const;
  std::optional<TokenId> whole_word(std::string_view word) const;
  void add_characters(std::string_view word, std::vector<uint32_t>& units) const;
  void add_bytes(std::string_view word, std::vector<uint32_t>& units) const;
  std::optional<uint32_t> unit_id(std::string_view unit, bool first, bool last) const;
  // A unit as it is called at its place in a word.
  std::string affixed(std::string_view unit, bool first, bool last) const;
  bool add_fallback_bytes(std::string_view unit, std::vector<uint32_t>& units) const;
  void merge_few(std::vector<uint32_t>& units, std::vector<MergeTable::Found>& found) const;
  void merge_many(Scratch& scratch) const;

  static constexpr uint32_t kNoToken = UINT32_MAX;

  BpeOptions options_;
  MergeTable merges_;
  std::optional<uint32_t> unk_;
  ByteTrie indivisible_;
  bool has_affixes_;
  bool cut_at_marks_;
  std::array<uint32_t, 128> ascii_units_;                // characters without affixes
  std::array<std::array<uint32_t, 256>, 4> byte_units_;  // [2 * first + last]
  std::array<uint32_t, 256> fallback_bytes_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> idle_;  // working memory that no call is using
};

// The merges of a list, the first of which has rank 0. A merged token is the left one and the right one without
// `continuing_subword_prefix`. Throws Error(invalid_model) when one is not in the vocabulary.
std::vector<Merge> ranked_merges(const Vocabulary& vocabulary,
                                 std::span<const std::pair<std::string, std::string>> merges,
                                 std::string_view continuing_subword_prefix = "");

// A merge for every way to put a token together from two others. `rank(id)` orders the tokens; nothing for a token that
// takes part in no merge.
template <class Rank>
std::vector<Merge> merges_by_concatenation(const Vocabulary& vocabulary, const Rank& rank) {
  std::vector<Merge> merges;
  const auto part = [&](std::string_view text) -> std::optional<TokenId> {
    const auto id = vocabulary.id(text);
    return id && rank(*id) ? id : std::nullopt;
  };
  vocabulary.for_each([&](std::string_view token, TokenId id) {
    const std::optional<uint32_t> order = rank(id);
    for (size_t cut = 1; order && cut < token.size(); ++cut) {
      if ((static_cast<unsigned char>(token[cut]) & 0xC0u) == 0x80u) continue;
      const auto left = part(token.substr(0, cut));
      const auto right = left ? part(token.substr(cut)) : std::nullopt;
      if (right)
        merges.push_back(
            {static_cast<uint32_t>(*left), static_cast<uint32_t>(*right), static_cast<uint32_t>(id), *order});
    }
  });
  return merges;
}

}  // namespace lathe::text
