// Regular expressions of tokenizer files. They are written for Oniguruma (Ruby's syntax) and run on PCRE2; this file
// decides what is translated: nested character classes and their intersections, \s \w \h \b with Oniguruma's character
// sets, (?m) as "dot matches newline", property names. A pattern that PCRE2 refuses is an Error(unsupported).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/pcre.h"
#include "text/pipeline.h"

namespace lathe::text {

class Regex {
 public:
  explicit Regex(std::string_view oniguruma_pattern);
  // The matches in well-formed `text`, from left to right; an empty one directly behind a match does not count. Throws
  // Error(invalid_argument) when the text needs more steps than the matcher allows.
  std::vector<Span> find_all(std::string_view text) const;

 private:
  Pcre pattern_;
};

// The same pattern in PCRE2's syntax.
std::string to_pcre2(std::string_view oniguruma_pattern);

}  // namespace lathe::text
