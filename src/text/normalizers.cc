#include "text/normalizers.h"

#include <algorithm>

#include "base/utf8.h"

namespace lathe::text {
namespace {

// Rewrites a text character by character: change(c, out) appends to a string of code points what becomes of c.
template <class Change>
std::string map_characters(std::string_view text, const Change& change) {
  std::string out;
  out.reserve(text.size());
  std::u32string letters;
  for (size_t i = 0; i < text.size();) {
    letters.clear();
    change(next_code_point(text, i), letters);
    for (const char32_t c : letters) append_utf8(out, c);
  }
  return out;
}

bool is_nmt_control(char32_t c) {
  return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
}

bool is_nmt_space(char32_t c) {
  return c == '\t' || c == '\n' || c == '\f' || c == '\r' || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
         c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
}

}  // namespace

std::string NormalizerSequence::normalize(std::string_view text) const {
  std::string out(text);
  for (const auto& stage : stages_) out = stage->normalize(out);
  return out;
}

std::string Lowercase::normalize(std::string_view text) const {
  return map_characters(text, [](char32_t c, std::u32string& out) { append_lower_case(out, c); });
}

std::string StripSpaces::normalize(std::string_view text) const {
  size_t begin = text.size(), end = 0;  // of what is not white space
  for (size_t i = 0; i < text.size();) {
    const size_t start = i;
    if (is_white_space(next_code_point(text, i))) continue;
    begin = std::min(begin, start);
    end = i;
  }
  if (begin > end) return left_ || right_ ? std::string() : std::string(text);
  if (!left_) begin = 0;
  if (!right_) end = text.size();
  return std::string(text.substr(begin, end - begin));
}

std::string StripAccents::normalize(std::string_view text) const {
  return map_characters(text, [](char32_t c, std::u32string& out) {
    if (!is_mark(c)) out.push_back(c);
  });
}

std::string Nmt::normalize(std::string_view text) const {
  return map_characters(text, [](char32_t c, std::u32string& out) {
    if (!is_nmt_control(c)) out.push_back(is_nmt_space(c) ? U' ' : c);
  });
}

}  // namespace lathe::text
