// The stages of a tokenizer, one interface each. A text passes Normalizer, PreTokenizer and TokenModel on its way to
// ids and Decoder on the way back; added tokens are cut out around them (added_tokens.h), and the post-processor puts
// special tokens in (post_processor.h). A stage may be absent. Stages are immutable and may be used from several
// threads. All text between stages is well-formed UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/vocabulary.h"

namespace lathe::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual std::string normalize(std::string_view text) const = 0;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Appends the words of `text`, which the model then treats one by one.
  virtual void split(std::string_view text, std::vector<std::string>& words) const = 0;
};

class TokenModel {
 public:
  explicit TokenModel(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  virtual ~TokenModel() = default;
  // Appends the ids of one word.
  virtual void tokenize(std::string_view word, std::vector<TokenId>& ids) const = 0;
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Rewrites the tokens into the pieces whose concatenation is the text.
  virtual void decode(std::vector<std::string>& tokens) const = 0;
};

}  // namespace lathe::text
