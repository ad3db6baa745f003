// Puts special tokens around one or two encoded texts. Every post-processor in use is a template: a list of sequences
// and special tokens, one list for single texts and one for pairs.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "text/vocabulary.h"

namespace lathe::text {

// What a model takes: ids, and for each the sequence that it belongs to (BERT's token_type_ids). Both [tokens].
struct Encoding {
  std::vector<TokenId> ids;
  std::vector<int64_t> type_ids;
};

class PostProcessor {
 public:
  struct Piece {
    enum class Kind { first, second, special };
    Kind kind = Kind::special;
    int64_t type_id = 0;
    std::vector<TokenId> ids = {};  // of a special piece
  };

  // No special tokens: the texts one after the other, with type ids 0 and 1.
  PostProcessor();
  PostProcessor(std::vector<Piece> single, std::vector<Piece> pair);

  // [CLS] A [SEP] B [SEP], as BERT.
  static PostProcessor bert(TokenId cls, TokenId sep);
  // <s> A </s> </s> B </s>, all of type 0, as RoBERTa.
  static PostProcessor roberta(TokenId cls, TokenId sep);
  // `before` and `after` around each text, as LLaMA.
  static PostProcessor around_each(const std::vector<TokenId>& before, const std::vector<TokenId>& after);

  // Shortens the texts so that at most `max_length` ids come out: the longer text first, both alike once they are
  // equal. Throws Error(invalid_argument) when not even the special tokens fit. 0 means no limit.
  Encoding assemble(std::vector<TokenId> first, std::optional<std::vector<TokenId>> second, bool add_special_tokens,
                    size_t max_length) const;

 private:
  std::vector<Piece> single_, pair_;
};

}  // namespace lathe::text
