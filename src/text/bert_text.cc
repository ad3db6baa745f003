#include "text/bert_text.h"

#include "base/utf8.h"
#include "text/unicode.h"

namespace lathe::text {
namespace {

// The blocks of CJK ideographs that BERT lists. Extension E begins at 0x2B820; the reference has 0x2B920, so the ids
// do.
bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

}  // namespace

std::string BertNormalizer::normalize(std::string_view text) const {
  const bool strip_accents = options_.strip_accents.value_or(options_.lowercase);
  std::string out;
  out.reserve(text.size());
  std::u32string letters;  // what one character becomes
  for (size_t i = 0; i < text.size();) {
    char32_t c = next_code_point(text, i);
    if (options_.clean_text) {
      if (c == 0 || c == kReplacementCharacter || is_control(c)) continue;
      if (is_white_space(c)) c = ' ';
    }
    const bool isolated = options_.handle_chinese_chars && is_chinese(c);
    letters.clear();
    if (strip_accents)
      append_without_accents(letters, c);
    else
      letters.push_back(c);
    if (options_.lowercase) {
      std::u32string lower;
      for (const char32_t letter : letters) append_lower_case(lower, letter);
      letters.swap(lower);
    }
    if (isolated) out.push_back(' ');
    for (const char32_t letter : letters) append_utf8(out, letter);
    if (isolated) out.push_back(' ');
  }
  return out;
}

void BertPreTokenizer::cut(std::string_view text, Pieces& pieces) const {
  size_t word = 0;  // where the current word began
  for (size_t i = 0; i < text.size();) {
    const size_t start = i;
    const char32_t c = next_code_point(text, i);
    const bool punctuation = is_punctuation(c);
    if (!punctuation && !is_white_space(c)) continue;
    pieces.add(word, start);
    if (punctuation) pieces.add(start, i);
    word = i;
  }
  pieces.add(word, text.size());
}

}  // namespace lathe::text
