// Character classes as Hugging Face's tokenizers see them, so that ids match exactly. Their punctuation, mark and
// control classes follow Unicode 8: what was added later is an ordinary letter to them. White space, letters, numbers
// and word characters follow the current Unicode.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lathe::text {

// The property White_Space.
bool is_white_space(char32_t c);
// Control, format and private-use characters, except tab, line feed and carriage return.
bool is_control(char32_t c);
// General category P, and every ASCII character that is neither letter, digit, space nor control.
bool is_punctuation(char32_t c);
// What \w matches: letters, digits, marks, connectors, joiners.
bool is_word_character(char32_t c);
// General category Mn.
bool is_non_spacing_mark(char32_t c);
// General category M: marks of all kinds.
bool is_mark(char32_t c);
// General category N: digits, letter-like and other numbers.
bool is_number(char32_t c);

// What the regular expressions of tokenizers tell apart: \p{L}, \p{N}, \s and the rest.
enum class CharacterKind { letter, number, space, other };
CharacterKind kind_of(char32_t c);

// How a character may stand in a word that GPT-4o's expression cuts where capitals begin: \p{Ll}; \p{Lu} and \p{Lt};
// the letters without case and the marks; nothing of these.
enum class Casing { lower, upper, either, none };
Casing casing_of(char32_t c);

// Appends the canonical decomposition of `c` without its non-spacing marks.
void append_without_accents(std::u32string& out, char32_t c);
// Appends the lower-case form of `c`, which may be several characters, whatever stands around it.
void append_lower_case(std::u32string& out, char32_t c);

enum class NormalizationForm { nfc, nfd, nfkc, nfkd };
std::string normalize_unicode(std::string_view text, NormalizationForm form);

// Where the extended grapheme cluster that starts at text[position] ends. Needs position < text.size().
size_t grapheme_end(std::string_view text, size_t position);

}  // namespace lathe::text
