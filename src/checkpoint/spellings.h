// Lists of alternatives, as the tables of families write them: "a|b".
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>

namespace lathe::checkpoint {

inline std::string_view first_spelling(std::string_view spellings) { return spellings.substr(0, spellings.find('|')); }

// The first of them that `accepts` takes.
template <class Predicate>
std::optional<std::string_view> find_spelling(std::string_view spellings, const Predicate& accepts) {
  while (!spellings.empty()) {
    const std::string_view spelling = first_spelling(spellings);
    if (accepts(spelling)) return spelling;
    spellings.remove_prefix(std::min(spellings.size(), spelling.size() + 1));
  }
  return std::nullopt;
}

inline bool is_spelling(std::string_view spellings, std::string_view name) {
  return find_spelling(spellings, [name](std::string_view spelling) { return spelling == name; }).has_value();
}

}  // namespace lathe::checkpoint
