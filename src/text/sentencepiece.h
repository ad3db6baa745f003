// A tokenizer from a sentencepiece model, as sentencepiece itself applies it: ids are those of its
// SentencePieceProcessor.
#pragma once

#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "text/byte_trie.h"
#include "text/charsmap.h"
#include "text/pipeline.h"
#include "text/sentencepiece_file.h"
#include "text/tokenizer.h"

namespace lathe::text {

inline constexpr std::string_view kSpaceMark = "\u2581";

// Maps characters, joins white space if the model wants it, and marks blanks. User-defined symbols stay as they are.
class SentencePieceNormalizer final : public Normalizer {
 public:
  explicit SentencePieceNormalizer(const SentencePieceModel& model);
  std::string normalize(std::string_view text) const override;

 private:
  struct Step {
    std::string_view text;  // what it becomes
    size_t length;          // how many bytes it takes
  };
  Step next(std::string_view text) const;

  Charsmap map_;
  ByteTrie user_defined_;
  std::string_view blank_;
  bool dummy_prefix_, remove_extra_, suffix_;
};

// Pieces to text: no text for control pieces, bytes put together again, the blank before the text taken away.
class SentencePieceDecoder final : public Decoder {
 public:
  explicit SentencePieceDecoder(const SentencePieceModel& model);
  void decode(std::vector<std::string>& tokens) const override;

 private:
  std::unordered_set<std::string> controls_;
  std::string unknown_, unk_surface_;
  bool has_bytes_, strips_first_, strips_all_;
};

// The whole tokenizer; without added tokens, since sentencepiece does not look for control pieces in texts. Ids begin
// at `first_id`.
TokenizerParts sentencepiece_parts(const SentencePieceModel& model, TokenId first_id = 0);

}  // namespace lathe::text
