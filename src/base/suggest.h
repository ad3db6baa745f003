// "Did you mean ..?": the known word nearest to a misspelt one.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lathe {

// Fewest insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
size_t edit_distance(std::string_view a, std::string_view b);

// The nearest candidate (the first of several), unless even that is too far off to be meant: more than a third of the
// word's letters, and more than one, differ. A candidate that the word abbreviates always counts as near.
std::optional<std::string> suggest(std::string_view word, std::span<const std::string> candidates);

}  // namespace lathe
