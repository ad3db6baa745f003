#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"

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

bool is_non_spacing_mark(char32_t c) {
  if (c == kHanunooPamudpod) return true;
  return category(c) == UTF8PROC_CATEGORY_MN && c != kSharadaSandhiMark;
}

bool is_mark(char32_t c) {
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_MN && kind <= UTF8PROC_CATEGORY_ME && !is_young(c);
}

bool is_number(char32_t c) {
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO;
}

CharacterKind kind_of(char32_t c) {
  if (c < 0x80) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return CharacterKind::letter;
    if (c >= '0' && c <= '9') return CharacterKind::number;
    return c == ' ' || (c >= '\t' && c <= '\r') ? CharacterKind::space : CharacterKind::other;
  }
  const auto kind = category(c);
  if (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO) return CharacterKind::letter;
  if (kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO) return CharacterKind::number;
  return is_white_space(c) ? CharacterKind::space : CharacterKind::other;
}

Casing casing_of(char32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z' ? Casing::lower : c >= 'A' && c <= 'Z' ? Casing::upper : Casing::none;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LL: return Casing::lower;
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT: return Casing::upper;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return Casing::either;
    default: return Casing::none;
  }
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

namespace {

utf8proc_option_t options_of(NormalizationForm form) {
  switch (form) {
    case NormalizationForm::nfc: return static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    case NormalizationForm::nfd: return static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
    case NormalizationForm::nfkc:
      return static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
    case NormalizationForm::nfkd:
      return static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
  }
  return UTF8PROC_STABLE;
}

// Normalises a stretch of well-formed text; `buffer` is only there to be reused.
void append_normalized(std::string& out, std::string_view text, utf8proc_option_t options,
                       std::vector<utf8proc_int32_t>& buffer) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto size = static_cast<utf8proc_ssize_t>(text.size());
  auto count = utf8proc_decompose(bytes, size, buffer.data(), static_cast<utf8proc_ssize_t>(buffer.size()), options);
  if (count > static_cast<utf8proc_ssize_t>(buffer.size())) {
    buffer.resize(static_cast<size_t>(count));
    count = utf8proc_decompose(bytes, size, buffer.data(), count, options);
  }
  LATHE_CHECK(count >= 0);
  if ((options & UTF8PROC_COMPOSE) != 0) count = utf8proc_normalize_utf32(buffer.data(), count, options);
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) append_utf8(out, static_cast<char32_t>(buffer[i]));
}

}  // namespace

std::string normalize_unicode(std::string_view text, NormalizationForm form) {
  const auto is_ascii = [](char byte) { return static_cast<unsigned char>(byte) < 0x80; };
  const utf8proc_option_t options = options_of(form);
  std::vector<utf8proc_int32_t> buffer;
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    // ASCII stays as it is, except that the last character before others may compose with them.
    size_t others = i;
    while (others < text.size() && is_ascii(text[others])) ++others;
    const size_t plain = others == text.size() || others == i ? others : others - 1;
    out.append(text, i, plain - i);
    size_t end = others;
    while (end < text.size() && !is_ascii(text[end])) ++end;
    if (end > plain) append_normalized(out, text.substr(plain, end - plain), options, buffer);
    i = end;
  }
  return out;
}

size_t grapheme_end(std::string_view text, size_t position) {
  auto before = static_cast<utf8proc_int32_t>(next_code_point(text, position));
  utf8proc_int32_t state = 0;
  while (position < text.size()) {
    size_t next = position;
    const auto c = static_cast<utf8proc_int32_t>(next_code_point(text, next));
    if (utf8proc_grapheme_break_stateful(before, c, &state)) break;
    before = c;
    position = next;
  }
  return position;
}

}  // namespace lathe::text
