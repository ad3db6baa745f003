// The names of Unicode's scripts, and the expression that cuts a text where its script changes.
#pragma once

#include <string>
#include <string_view>

namespace lathe::text {

// The name of a property or of a script as names are compared: case, blanks, hyphens and underscores do not matter.
std::string comparable_name(std::string_view name);

// As in the property Script.
bool is_script_name(std::string_view name);

// Finds the stretches of one script, which spaces and characters without a script may stand in but not begin. Chinese
// characters, both kana and the prolonged sound mark are one script.
std::string one_script_expression();

}  // namespace lathe::text
