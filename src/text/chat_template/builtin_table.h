// The form in which files of builtins list what they define: sorted by name, found by bisection.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

#include "text/chat_template/builtins.h"

namespace lathe::text {

template <class Function>
struct Builtin {
  std::string_view name;
  Function function;
};

template <class Function, size_t count>
constexpr bool is_sorted(const std::array<Builtin<Function>, count>& table) {
  for (size_t i = 1; i < count; ++i)
    if (!(table[i - 1].name < table[i].name)) return false;
  return true;
}

template <class Function, size_t count>
Function find_builtin(const std::array<Builtin<Function>, count>& table, std::string_view name) {
  const auto found = std::lower_bound(table.begin(), table.end(), name,
                                      [](const auto& entry, std::string_view wanted) { return entry.name < wanted; });
  return found != table.end() && found->name == name ? found->function : nullptr;
}

// Filters of sequences; find_filter() looks there too.
FilterFunction find_sequence_filter(std::string_view name);

}  // namespace lathe::text
