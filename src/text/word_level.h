// WordLevel: a word is a token, or it is unknown.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/pipeline.h"

namespace lathe::text {

class WordLevel final : public TokenModel {
 public:
  // An unknown word is left out when `unk_token` is not in the vocabulary.
  WordLevel(Vocabulary vocabulary, std::string_view unk_token)
      : TokenModel(std::move(vocabulary)), unk_id_(this->vocabulary().id(unk_token)) {}

  void tokenize(std::string_view word, std::vector<TokenId>& ids) const override {
    const auto id = vocabulary().id(word);
    if (id || unk_id_) ids.push_back(id ? *id : *unk_id_);
  }

 private:
  std::optional<TokenId> unk_id_;
};

}  // namespace lathe::text
