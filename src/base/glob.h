// Patterns of names: '*' stands for any text, also for none; everything else for itself.
#pragma once

#include <string_view>

namespace lathe {

// In time proportional to the lengths' product at worst, whatever the pattern.
bool glob_matches(std::string_view pattern, std::string_view name);

}  // namespace lathe
