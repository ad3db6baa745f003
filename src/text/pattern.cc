#include "text/pattern.h"

#include <utility>

namespace lathe::text {

Pattern Pattern::literal(std::string text) {
  if (text.empty()) return regex("");
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
  for (size_t at = text.find(literal_); at != std::string_view::npos; at = text.find(literal_, at + literal_.size()))
    matches.push_back({at, at + literal_.size()});
  return matches;
}

std::string Pattern::replace_all(std::string_view text, std::string_view content) const {
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  const auto replace = [&](size_t begin, size_t end) {
    out.append(text, done, begin - done);
    out += content;
    done = end;
  };
  if (regex_) {
    for (const Span& match : regex_->find_all(text)) replace(match.begin, match.end);
  } else {
    while (true) {
      const size_t at = text.find(literal_, done);
      if (at == std::string_view::npos) break;
      replace(at, at + literal_.size());
    }
  }
  return out.append(text, done, text.size() - done);
}

}  // namespace lathe::text
