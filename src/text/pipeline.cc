#include "text/pipeline.h"

namespace lathe::text {

void Words::assign(std::string_view whole, bool is_at_start) {
  text.assign(whole);
  spans.clear();
  if (!text.empty()) spans.push_back({0, text.size()});
  at_start = is_at_start;
}

void Cutter::split(Words& words) const {
  const std::vector<Span> whole = std::exchange(words.spans, {});
  words.spans.reserve(whole.size() + words.text.size() / 4);
  for (const Span& span : whole) {
    Pieces pieces(words.spans, span.begin);
    cut(words.word(span), pieces);
  }
}

void TokenModel::tokenize_all(const Words& words, std::vector<TokenId>& ids) const {
  for (const Span& span : words.spans) tokenize(words.word(span), ids);
}

}  // namespace lathe::text
