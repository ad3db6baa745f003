// The decoders of tokenizer.json that are small; ByteLevel's is in byte_level.h, WordPiece's in wordpiece.h. Results
// are those of Hugging Face's `tokenizers`.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/pattern.h"
#include "text/pipeline.h"

namespace lathe::text {

class DecoderSequence final : public Decoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<Decoder>> stages) : stages_(std::move(stages)) {}
  void decode(std::vector<std::string>& tokens) const override {
    for (const auto& stage : stages_) stage->decode(tokens);
  }

 private:
  std::vector<std::unique_ptr<Decoder>> stages_;
};

// Tokens "<0xNN>" become bytes; a run of them that is no UTF-8 becomes one U+FFFD for each.
class ByteFallbackDecoder final : public Decoder {
 public:
  void decode(std::vector<std::string>& tokens) const override;
};

// All tokens become one.
class FuseDecoder final : public Decoder {
 public:
  void decode(std::vector<std::string>& tokens) const override;
};

// Takes up to `start` and `stop` times a character away at the ends of each token.
class StripDecoder final : public Decoder {
 public:
  StripDecoder(std::string character, size_t start, size_t stop)
      : character_(std::move(character)), start_(start), stop_(stop) {}
  void decode(std::vector<std::string>& tokens) const override;

 private:
  std::string character_;
  size_t start_, stop_;
};

class ReplaceDecoder final : public Decoder {
 public:
  ReplaceDecoder(Pattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void decode(std::vector<std::string>& tokens) const override;

 private:
  Pattern pattern_;
  std::string content_;
};

// Marks become blanks; those of the first token go where the pre-tokenizer puts one in.
class MetaspaceDecoder final : public Decoder {
 public:
  MetaspaceDecoder(std::string mark, bool adds_prefix) : mark_(std::move(mark)), adds_prefix_(adds_prefix) {}
  void decode(std::vector<std::string>& tokens) const override;

 private:
  std::string mark_;
  bool adds_prefix_;
};

// A suffix marks the end of a word.
class BpeDecoder final : public Decoder {
 public:
  explicit BpeDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  void decode(std::vector<std::string>& tokens) const override;

 private:
  std::string suffix_;
};

// Connectionist temporal classification: repetitions and padding go.
class CtcDecoder final : public Decoder {
 public:
  CtcDecoder(std::string pad_token, std::string word_delimiter, bool cleanup)
      : pad_token_(std::move(pad_token)), word_delimiter_(std::move(word_delimiter)), cleanup_(cleanup) {}
  void decode(std::vector<std::string>& tokens) const override;

 private:
  std::string pad_token_, word_delimiter_;
  bool cleanup_;
};

// The byte of a token "<0xNN>".
std::optional<unsigned char> fallback_byte(std::string_view token);

void replace_all(std::string& text, std::string_view from, std::string_view to);

// Takes the blank before punctuation and English contractions away, as clean_up_tokenization_spaces asks for.
void clean_up_english(std::string& text);

}  // namespace lathe::text
