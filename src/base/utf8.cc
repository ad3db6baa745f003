#include "base/utf8.h"

#include <cstdint>
#include <cstring>

namespace lathe {
namespace {

bool is_code_point(char32_t value) { return value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF); }

// Length of the sequence that a lead byte announces, 0 for a byte that leads none.
size_t sequence_length(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;  // continuation bytes, and leads of two-byte forms of ASCII
  if (lead < 0xE0) return 2;
  if (lead < 0xF0) return 3;
  return lead < 0xF5 ? 4 : 0;
}

}  // namespace

char32_t next_code_point(std::string_view text, size_t& position) {
  static constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};  // by length; smaller values are overlong
  const auto lead = static_cast<unsigned char>(text[position]);
  const size_t length = sequence_length(lead);
  const size_t start = position++;
  if (length == 1) return lead;
  if (length == 0 || length > text.size() - start) return kReplacementCharacter;
  char32_t value = lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(text[start + i]);
    if ((byte & 0xC0u) != 0x80u) return kReplacementCharacter;
    value = (value << 6) | (byte & 0x3Fu);
  }
  if (value < kSmallest[length] || !is_code_point(value)) return kReplacementCharacter;
  position = start + length;
  return value;
}

void append_utf8(std::string& out, char32_t code_point) {
  const char32_t c = is_code_point(code_point) ? code_point : kReplacementCharacter;
  const auto continuation = [&](int shift) { out.push_back(static_cast<char>(0x80u | ((c >> shift) & 0x3Fu))); };
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out.push_back(static_cast<char>(0xC0u | (c >> 6)));
    continuation(0);
  } else if (c < 0x10000) {
    out.push_back(static_cast<char>(0xE0u | (c >> 12)));
    continuation(6);
    continuation(0);
  } else {
    out.push_back(static_cast<char>(0xF0u | (c >> 18)));
    continuation(12);
    continuation(6);
    continuation(0);
  }
}

size_t count_code_points(std::string_view text) {
  size_t count = 0;
  for (size_t i = 0; i < text.size(); ++count) next_code_point(text, i);
  return count;
}

bool is_valid_utf8(std::string_view text) {
  constexpr uint64_t kHighBits = 0x8080808080808080u;
  for (size_t i = 0; i < text.size();) {
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      uint64_t block = kHighBits;  // eight bytes of ASCII at a time
      if (text.size() - i >= sizeof block) std::memcpy(&block, text.data() + i, sizeof block);
      i += (block & kHighBits) == 0 ? sizeof block : 1;
      continue;
    }
    const size_t start = i;
    const bool replaced = next_code_point(text, i) == kReplacementCharacter;
    if (replaced && text.substr(start, i - start) != "\xEF\xBF\xBD") return false;
  }
  return true;
}

std::string to_valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) append_utf8(out, next_code_point(text, i));
  return out;
}

}  // namespace lathe
