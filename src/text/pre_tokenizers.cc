#include "text/pre_tokenizers.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/unicode.h"

namespace lathe::text {
namespace {

struct Stretch {
  Span span;
  bool found;
};

// The whole of a text as stretches that were found and others.
std::vector<Stretch> stretches_of(std::string_view text, const std::vector<Span>& matches, bool invert) {
  std::vector<Stretch> stretches;
  size_t done = 0;
  for (const Span& match : matches) {
    if (match.begin > done) stretches.push_back({{done, match.begin}, invert});
    stretches.push_back({match, !invert});
    done = match.end;
  }
  if (done < text.size()) stretches.push_back({{done, text.size()}, invert});
  return stretches;
}

// Neighbours of one kind become one.
void join_runs(std::vector<Stretch>& stretches) {
  std::vector<Stretch> joined;
  for (const Stretch& stretch : stretches) {
    if (!joined.empty() && joined.back().found == stretch.found)
      joined.back().span.end = stretch.span.end;
    else
      joined.push_back(stretch);
  }
  stretches = std::move(joined);
}

// Each found stretch that does not follow another found one joins the stretch before it, in the order given.
template <class Join>
std::vector<Span> merge_found(const std::vector<Stretch>& stretches, const Join& join) {
  std::vector<Span> spans;
  bool after_found = false;
  for (const Stretch& stretch : stretches) {
    if (stretch.found && !after_found && !spans.empty())
      join(spans.back(), stretch.span);
    else
      spans.push_back(stretch.span);
    after_found = stretch.found;
  }
  return spans;
}

void add_pieces(std::vector<Stretch> stretches, SplitBehavior behavior, Cutter::Pieces& pieces) {
  std::vector<Span> spans;
  switch (behavior) {
    case SplitBehavior::removed: std::erase_if(stretches, [](const Stretch& stretch) { return stretch.found; }); break;
    case SplitBehavior::isolated: break;
    case SplitBehavior::contiguous: join_runs(stretches); break;
    case SplitBehavior::merged_with_previous:
      spans = merge_found(stretches, [](Span& before, const Span& found) { before.end = found.end; });
      break;
    case SplitBehavior::merged_with_next:
      std::reverse(stretches.begin(), stretches.end());
      spans = merge_found(stretches, [](Span& behind, const Span& found) { behind.begin = found.begin; });
      std::reverse(spans.begin(), spans.end());
      break;
  }
  if (spans.empty())
    for (const Stretch& stretch : stretches) spans.push_back(stretch.span);
  for (const Span& span : spans) pieces.add(span.begin, span.end);
}

}  // namespace

void Split::cut(std::string_view word, Pieces& pieces) const {
  add_pieces(stretches_of(word, pattern_.find_all(word), invert_), behavior_, pieces);
}

void SplitCharacters::cut(std::string_view word, Pieces& pieces) const {
  std::vector<Span> members;
  for (size_t i = 0; i < word.size();) {
    const size_t start = i;
    if (is_member_(next_code_point(word, i))) members.push_back({start, i});
  }
  add_pieces(stretches_of(word, members, false), behavior_, pieces);
}

void SplitWords::cut(std::string_view word, Pieces& pieces) const {
  enum class Kind { space, letters, symbols };
  Kind current = Kind::space;
  size_t begin = 0;
  for (size_t i = 0; i < word.size();) {
    const size_t start = i;
    const char32_t c = next_code_point(word, i);
    const Kind kind = is_word_character(c) ? Kind::letters : is_white_space(c) ? Kind::space : Kind::symbols;
    if (kind == current) continue;
    if (current != Kind::space) pieces.add(begin, start);
    current = kind;
    begin = start;
  }
  if (current != Kind::space) pieces.add(begin, word.size());
}

void AddPrefixSpace::split(Words& words) const {
  std::string text;
  text.reserve(words.text.size() + words.spans.size());
  for (Span& span : words.spans) {
    const std::string_view word = words.word(span);
    const size_t begin = text.size();
    if (!word.starts_with(' ')) text += ' ';
    text += word;
    span = {begin, text.size()};
  }
  words.text = std::move(text);
}

void Metaspace::split(Words& words) const {
  std::string text;
  text.reserve(words.text.size() + words.text.size() / 2);
  std::vector<Span> spans;
  for (const Span& span : words.spans) {
    const std::string_view word = words.word(span);
    const bool wants_prefix =
        prefix_ == Prefix::always || (prefix_ == Prefix::first && words.at_start && span.begin == 0);
    size_t begin = text.size();
    if (wants_prefix && !word.starts_with(' ') && !word.starts_with(mark_)) text += mark_;
    for (const char c : word) {
      if (c == ' ')
        text += mark_;
      else
        text += c;
    }
    if (split_) {
      for (size_t at = text.find(mark_, begin + 1); at != std::string::npos; at = text.find(mark_, at + mark_.size())) {
        spans.push_back({begin, at});
        begin = at;
      }
    }
    spans.push_back({begin, text.size()});
  }
  words.text = std::move(text);
  words.spans = std::move(spans);
}

}  // namespace lathe::text
