#include "text/byte_level.h"

#include <algorithm>

#include "base/utf8.h"

namespace lathe::text {
namespace {

// Bytes that are printable in Latin-1 stand for themselves; the others follow from U+0100, in order.
bool is_printable(unsigned char byte) { return (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD); }

constexpr char32_t kFirstShifted = 0x100;
constexpr unsigned char kAsciiEnd = 0x7F, kLatinStart = 0xA0, kSoftHyphen = 0xAD;
constexpr char32_t kLowBytes = 0x21;                            // 0x00 .. 0x20
constexpr char32_t kMiddleBytes = kLatinStart - kAsciiEnd + 1;  // 0x7F .. 0xA0

// How long the well-formed start of a character at bytes[at] is, and whether it is a whole one.
struct Prefix {
  size_t length;
  bool whole;
};

Prefix character_prefix(std::string_view bytes, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[at + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, true};
  const size_t length = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (length == 0) return {1, false};
  // The second byte's range excludes overlong forms, surrogates and what is beyond U+10FFFF.
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (size_t i = 1; i < length; ++i) {
    if (at + i >= bytes.size()) return {i, false};
    if (byte(i) < (i == 1 ? low : 0x80) || byte(i) > (i == 1 ? high : 0xBF)) return {i, false};
  }
  return {length, true};
}

}  // namespace

char32_t character_of_byte(unsigned char byte) {
  if (is_printable(byte)) return byte;
  if (byte < kAsciiEnd) return kFirstShifted + byte;
  if (byte <= kLatinStart) return kFirstShifted + kLowBytes + (byte - kAsciiEnd);
  return kFirstShifted + kLowBytes + kMiddleBytes;
}

std::optional<unsigned char> byte_of_character(char32_t c) {
  if (c < kFirstShifted) return is_printable(static_cast<unsigned char>(c)) ? std::optional(c) : std::nullopt;
  const char32_t shifted = c - kFirstShifted;
  if (shifted < kLowBytes) return static_cast<unsigned char>(shifted);
  if (shifted < kLowBytes + kMiddleBytes) return static_cast<unsigned char>(kAsciiEnd + shifted - kLowBytes);
  if (shifted == kLowBytes + kMiddleBytes) return kSoftHyphen;
  return std::nullopt;
}

std::string to_byte_characters(std::string_view bytes) {
  std::string out;
  out.reserve(2 * bytes.size());
  for (const char byte : bytes) append_utf8(out, character_of_byte(static_cast<unsigned char>(byte)));
  return out;
}

void ByteCharacters::split(Words& words) const {
  std::string text;
  text.reserve(2 * words.text.size());
  for (Span& span : words.spans) {
    const size_t begin = text.size();
    text += to_byte_characters(words.word(span));
    span = {begin, text.size()};
  }
  words.text = std::move(text);
}

void ByteLevelDecoder::decode(std::vector<std::string>& tokens) const {
  std::string bytes, token_bytes;
  for (const std::string& token : tokens) {
    token_bytes.clear();
    bool all_known = true;
    for (size_t i = 0; i < token.size() && all_known;) {
      const auto byte = byte_of_character(next_code_point(token, i));
      all_known = byte.has_value();
      if (byte) token_bytes.push_back(static_cast<char>(*byte));
    }
    bytes += all_known ? token_bytes : token;
  }
  tokens.assign(1, replace_malformed(bytes));
}

std::string replace_malformed(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (size_t i = 0; i < bytes.size();) {
    const Prefix prefix = character_prefix(bytes, i);
    if (prefix.whole)
      out.append(bytes, i, prefix.length);
    else
      append_utf8(out, kReplacementCharacter);
    i += prefix.length;
  }
  return out;
}

}  // namespace lathe::text
