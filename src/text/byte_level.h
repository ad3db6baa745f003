// The alphabet of byte-level tokenizers: each byte has a printable character that stands for it in vocabularies.
// Source: openai/gpt-2, encoder.py, bytes_to_unicode.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "text/pipeline.h"

namespace lathe::text {

char32_t character_of_byte(unsigned char byte);
// Nothing for a character that stands for no byte.
std::optional<unsigned char> byte_of_character(char32_t c);

// Every byte of `bytes` as its character.
std::string to_byte_characters(std::string_view bytes);

// Rewrites each word into the characters of its bytes.
class ByteCharacters final : public PreTokenizer, public Normalizer {
 public:
  void split(Words& words) const override;
  std::string normalize(std::string_view text) const override { return to_byte_characters(text); }
};

// Joins all tokens and turns characters back into bytes; a token with other characters stands for itself. What is then
// no UTF-8 becomes U+FFFD.
class ByteLevelDecoder final : public Decoder {
 public:
  void decode(std::vector<std::string>& tokens) const override;
};

// As Rust's from_utf8_lossy: one U+FFFD for the longest start of a character that breaks off.
std::string replace_malformed(std::string_view bytes);

}  // namespace lathe::text
