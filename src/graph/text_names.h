// How the text form writes names: bare where they are harmless, else quoted with escapes \" \\ \n \xHH.
#pragma once

#include <string>
#include <string_view>

namespace lathe {

bool is_bare_char(char c);  // letters, digits and _ . / -
std::string quoted(std::string_view text);
std::string bare_or_quoted(std::string_view name);

}  // namespace lathe
