// What a tokenizer file looks for in texts: a literal string or a regular expression.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex.h"

namespace lathe::text {

class Pattern {
 public:
  // An empty text is found between all characters, as the reference finds it.
  static Pattern literal(std::string text);
  static Pattern regex(std::string_view expression);

  std::vector<Span> find_all(std::string_view text) const;
  std::string replace_all(std::string_view text, std::string_view content) const;

 private:
  std::string literal_;  // where there is no expression; not empty
  std::optional<Regex> regex_;
};

}  // namespace lathe::text
