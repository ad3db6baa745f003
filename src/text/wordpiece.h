// WordPiece: a word becomes the longest token that it starts with, then the longest continuation token ("##...") that
// the rest starts with, and so on; a word that cannot be covered so, or is too long, becomes the unknown token as a
// whole.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "text/pipeline.h"

namespace lathe::text {

struct WordPieceOptions {
  std::string unk_token = "[UNK]";
  std::string continuing_subword_prefix = "##";
  size_t max_input_chars_per_word = 100;
};

class WordPiece final : public TokenModel {
 public:
  // Throws Error(invalid_model) when the unknown token is not in the vocabulary.
  WordPiece(Vocabulary vocabulary, const WordPieceOptions& options);
  void tokenize(std::string_view word, std::vector<TokenId>& ids) const override;

 private:
  WordPieceOptions options_;
  TokenId unk_id_;
};

class WordPieceDecoder final : public Decoder {
 public:
  // With `cleanup`, the blank before punctuation and English contractions goes.
  WordPieceDecoder(std::string prefix, bool cleanup) : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  void decode(std::vector<std::string>& tokens) const override;

 private:
  std::string prefix_;
  bool cleanup_;
};

}  // namespace lathe::text
