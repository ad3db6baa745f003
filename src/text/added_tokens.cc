#include "text/added_tokens.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "text/unicode.h"

namespace lathe::text {
namespace {

// The character that ends before `end`. Needs end > 0 and well-formed text.
char32_t character_before(std::string_view text, size_t end) {
  size_t start = end - 1;
  while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0u) == 0x80u) --start;
  return next_code_point(text, start);
}

bool stands_alone(std::string_view text, size_t start, size_t end) {
  if (start > 0 && is_word_character(character_before(text, start))) return false;
  return end == text.size() || !is_word_character(next_code_point(text, end));
}

size_t skip_spaces(std::string_view text, size_t at) {
  for (size_t next = at; next < text.size(); at = next)
    if (!is_white_space(next_code_point(text, next))) break;
  return at;
}

size_t skip_spaces_back(std::string_view text, size_t at) {
  while (at > 0) {
    const char32_t c = character_before(text, at);
    if (!is_white_space(c)) break;
    std::string encoded;
    append_utf8(encoded, c);
    at -= encoded.size();
  }
  return at;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer) : tokens_(std::move(tokens)) {
  std::vector<ByteTrie::Entry> raw, normalized;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    vocabulary_.add(token.content, token.id);
    if (token.special) special_.insert(token.id);
    const bool normalize = token.normalized && normalizer != nullptr;
    const std::string key = normalize ? normalizer->normalize(token.content) : token.content;
    if (!key.empty()) (token.normalized ? normalized : raw).push_back({key, i});
  }
  raw_ = ByteTrie(std::move(raw));
  normalized_ = ByteTrie(std::move(normalized));
}

std::vector<AddedTokens::Segment> AddedTokens::split(std::string_view text, const ByteTrie& trie) const {
  std::vector<Segment> segments;
  size_t done = 0;  // everything before belongs to a segment
  const auto add_text = [&](size_t end) {
    if (end > done) segments.push_back({text.substr(done, end - done), std::nullopt});
  };
  for (size_t at = 0; at < text.size() && !trie.empty();) {
    const auto match = trie.may_start_with(text[at]) ? trie.longest_prefix(text.substr(at)) : std::nullopt;
    if (!match) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[match->value];
    const size_t start = at;
    at += match->length;
    if (token.single_word && !stands_alone(text, start, at)) continue;
    if (token.rstrip) at = skip_spaces(text, at);
    add_text(token.lstrip ? std::max(done, skip_spaces_back(text, start)) : start);
    segments.push_back({{}, token.id});
    done = at;
  }
  add_text(text.size());
  return segments;
}

}  // namespace lathe::text
