// The stages of a tokenizer, one interface each. A text passes Normalizer, PreTokenizer and TokenModel on its way to
// ids and Decoder on the way back; added tokens are cut out around them (added_tokens.h), and the post-processor puts
// special tokens in (post_processor.h). A stage may be absent. Stages are immutable and may be used from several
// threads. All text between stages is well-formed UTF-8. Words are places in one text, not strings of their own, so
// that cutting a text allocates nothing per word.
#pragma once

#include <cstddef>
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

// The bytes [begin, end) of a text.
struct Span {
  size_t begin, end;
  friend bool operator==(const Span&, const Span&) = default;
};

// A text and the words that it was cut into, in order and not empty.
struct Words {
  // One word, the whole of `text`. `at_start`: whether an input begins with it, rather than goes on after an added
  // token.
  void assign(std::string_view whole, bool is_at_start);
  std::string_view word(const Span& span) const {
    return std::string_view(text).substr(span.begin, span.end - span.begin);
  }

  std::string text;
  std::vector<Span> spans;
  bool at_start = true;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Cuts each word further; may rewrite the text.
  virtual void split(Words& words) const = 0;
};

// A pre-tokenizer that cuts words and leaves the text alone.
class Cutter : public PreTokenizer {
 public:
  // Takes the pieces of one word; leaves out empty ones.
  class Pieces {
   public:
    Pieces(std::vector<Span>& out, size_t offset) : out_(out), offset_(offset) {}
    void add(size_t begin, size_t end) {
      if (end > begin) out_.push_back({offset_ + begin, offset_ + end});
    }

   private:
    std::vector<Span>& out_;
    size_t offset_;
  };

  void split(Words& words) const final;
  // Adds the pieces of `word`, in order, as places in it.
  virtual void cut(std::string_view word, Pieces& pieces) const = 0;
};

class TokenModel {
 public:
  explicit TokenModel(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  virtual ~TokenModel() = default;
  // Appends the ids of one word.
  virtual void tokenize(std::string_view word, std::vector<TokenId>& ids) const = 0;
  // Appends the ids of all words.
  virtual void tokenize_all(const Words& words, std::vector<TokenId>& ids) const;
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
