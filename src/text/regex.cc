#include "text/regex.h"

namespace lathe::text {

Regex::Regex(std::string_view oniguruma_pattern)
    : pattern_(to_pcre2(oniguruma_pattern), PcreRules::unicode_lines, oniguruma_pattern) {}

std::vector<Span> Regex::find_all(std::string_view text) const {
  Pcre::Searcher searcher(pattern_);
  std::vector<Span> matches;
  for (size_t from = 0; from <= text.size();) {
    const auto match = searcher.find(text, from);
    if (!match) break;
    if (match->end == match->begin && !matches.empty() && matches.back().end == match->end) {
      for (++from; from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0u) == 0x80u;) ++from;
      continue;
    }
    matches.push_back({match->begin, match->end});
    from = match->end;
  }
  return matches;
}

}  // namespace lathe::text
