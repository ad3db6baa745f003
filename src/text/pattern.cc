#include "text/pattern.h"

#include <utility>

namespace lathe::text {

Pattern Pattern::literal(std::string text) {
  Pattern pattern;
  pattern.literal_ = std::move(text);
  return pattern;
}

Pattern Pattern::regex(std::string_view expression) {
  Pattern pattern;
  pattern.regex_.emplace(expression);
  return pattern;
}

std::vector<Span> Pattern::find_all(std::string_view text) const {
  if (regex_) return regex_->find_all(text);
  std::vector<Span> matches;
  if (literal_.empty()) return matches;
  for (size_t at = text.find(literal_); at != std::string_view::npos; at = text.find(literal_, at + literal_.size()))
    matches.push_back({at, at + literal_.size()});
  return matches;
}

std::string Pattern::replace_all(std::string_view text, std::string_view content) const {
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  for (const Span& match : find_all(text)) {
    out.append(text, done, match.begin - done);
    out += content;
    done = match.end;
  }
  return out.append(text, done, text.size() - done);
}

}  // namespace lathe::text
