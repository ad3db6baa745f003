#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "base/error.h"

namespace lathe::text {
namespace {

struct Range {
  char32_t first, last;
};

bool contains(const Range* begin, const Range* end, char32_t c) {
  const Range* range = std::lower_bound(begin, end, c, [](const Range& r, char32_t value) { return r.last < value; });
  return range != end && range->first <= c;
}

// Stretches of code points without any mark, punctuation, format character or decomposition in Unicode 8 that have some
// today. Letters inside a stretch do no harm: being new makes no difference to them.
constexpr Range kYoungerThanUnicode8[] = {
    {0x61D, 0x61D},     {0x7FD, 0x7FD},     {0x890, 0x8E2},     {0x9FD, 0x9FE},     {0xA76, 0xA76},
    {0xAFA, 0xAFF},     {0xB55, 0xB55},     {0xC04, 0xC3C},     {0xC77, 0xC77},     {0xC84, 0xC84},
    {0xD00, 0xD00},     {0xD3B, 0xD3C},     {0xD81, 0xD81},     {0xEBA, 0xEBA},     {0xECE, 0xECE},
    {0x180F, 0x1886},   {0x1ABF, 0x1ACE},   {0x1B7D, 0x1B7E},   {0x1DF6, 0x1DFB},   {0x2E43, 0x2E5D},
    {0xA82C, 0xA82C},   {0xA8C5, 0xA8C5},   {0xA8FF, 0xA8FF},   {0xA9BD, 0xA9BD},   {0x10D24, 0x10F89},
    {0x11070, 0x11074}, {0x110C2, 0x110CD}, {0x111CF, 0x111CF}, {0x1123E, 0x11241}, {0x1133B, 0x1133B},
    {0x11438, 0x1145E}, {0x11660, 0x1166C}, {0x116B9, 0x116B9}, {0x1182F, 0x11FFF}, {0x12FF1, 0x13455},
    {0x16E97, 0x16F4F}, {0x16FE2, 0x16FE4}, {0x1CF00, 0x1CF46}, {0x1E000, 0x1E4EF}, {0x1E944, 0x1E95F}};

// The three characters that Unicode has moved between classes since then.
constexpr char32_t kHanunooPamudpod = 0x1734;       // was a non-spacing mark
constexpr char32_t kCanadianSyllabicsChi = 0x166D;  // was punctuation
constexpr char32_t kSharadaSandhiMark = 0x111C9;    // was punctuation
constexpr char32_t kCapitalIWithDotAbove = 0x130;   // the one character whose lower case is two
constexpr char32_t kCombiningDotAbove = 0x307;

// Letters to Unicode (property Other_Alphabetic) although their general category is symbol.
constexpr Range kAlphabeticSymbols[] = {{0x24B6, 0x24E9}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};

bool is_young(char32_t c) { return contains(std::begin(kYoungerThanUnicode8), std::end(kYoungerThanUnicode8), c); }

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

bool is_non_spacing_mark(char32_t c) {
  if (c == kHanunooPamudpod) return true;
  return category(c) == UTF8PROC_CATEGORY_MN && c != kSharadaSandhiMark;
}

}  // namespace

bool is_white_space(char32_t c) {
  static constexpr Range kWhiteSpace[] = {{0x9, 0xD},       {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},
                                          {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                                          {0x205F, 0x205F}, {0x3000, 0x3000}};
  return contains(std::begin(kWhiteSpace), std::end(kWhiteSpace), c);
}

bool is_control(char32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  const auto kind = category(c);
  return (kind == UTF8PROC_CATEGORY_CC || kind == UTF8PROC_CATEGORY_CF || kind == UTF8PROC_CATEGORY_CO) && !is_young(c);
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) return (c > 0x20 && c < '0') || (c > '9' && c < 'A') || (c > 'Z' && c < 'a') || (c > 'z' && c < 0x7F);
  if (c == kCanadianSyllabicsChi || c == kSharadaSandhiMark) return true;
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_PC && kind <= UTF8PROC_CATEGORY_PO && !is_young(c);
}

bool is_word_character(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: break;
  }
  const bool joiner = c == 0x200C || c == 0x200D;
  return joiner || contains(std::begin(kAlphabeticSymbols), std::end(kAlphabeticSymbols), c);
}

void append_without_accents(std::u32string& out, char32_t c) {
  if (c < 0x80 || is_young(c)) {
    out.push_back(c);
    return;
  }
  std::array<utf8proc_int32_t, 8> parts{};  // canonical decompositions have at most four characters
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(),
                                             static_cast<utf8proc_ssize_t>(parts.size()), UTF8PROC_DECOMPOSE, nullptr);
  LATHE_CHECK(count >= 0 && static_cast<size_t>(count) <= parts.size());
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    const auto part = static_cast<char32_t>(parts[i]);
    if (!is_non_spacing_mark(part)) out.push_back(part);
  }
}

void append_lower_case(std::u32string& out, char32_t c) {
  if (c == kCapitalIWithDotAbove) {
    out.push_back(U'i');
    out.push_back(kCombiningDotAbove);
  } else {
    out.push_back(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}

}  // namespace lathe::text
