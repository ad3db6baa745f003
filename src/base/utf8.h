// UTF-8 to code points and back. Decoding never fails: a byte that cannot be part of well-formed UTF-8 (overlong forms
// and surrogates included) reads as U+FFFD and counts as one character.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lathe {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

// The code point that starts at text[position]; advances `position` behind it. Needs position < text.size().
char32_t next_code_point(std::string_view text, size_t& position);

// Values that are no code point (surrogates, beyond U+10FFFF) are written as U+FFFD.
void append_utf8(std::string& out, char32_t code_point);

size_t count_code_points(std::string_view text);

bool is_valid_utf8(std::string_view text);

// `text` itself when it is well-formed, else with U+FFFD in place of each malformed byte.
std::string to_valid_utf8(std::string_view text);

}  // namespace lathe
