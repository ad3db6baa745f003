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
  std::vector<ByteTrie::Entry> raw, normalized, raw_and_special;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    vocabulary_.add(token.content, token.id);
    if (token.special) special_.insert(token.id);
    const bool normalize = token.normalized && normalizer != nullptr;
    const std::string key = normalize ? normalizer->normalize(token.content) : token.content;
    if (!key.empty()) (token.normalized ? normalized : raw).push_back({key, i});
    if (!token.content.empty() && (token.special || !token.normalized)) raw_and_special.push_back({token.content, i});
  }
  raw_ = ByteTrie(std::move(raw));
  normalized_ = ByteTrie(std::move(normalized));
  raw_and_special_ = ByteTrie(std::move(raw_and_special));
}

template <class Find>
std::vector<AddedTokens::Segment> AddedTokens::split(std::string_view text, const ByteTrie& trie, Find&& find) const {
  std::vector<Segment> segments;
  size_t done = 0;  // everything before belongs to a segment
  const auto add_text = [&](size_t end) {
    if (end > done) segments.push_back({text.substr(done, end - done), std::nullopt});
  };
  // Tokens are also found in the white space that the one before took along.
  for (size_t at = 0; at < text.size() && !trie.empty();) {
    const auto match = trie.may_start_with(text[at]) ? find(at) : std::nullopt;
    if (!match) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[match->value];
    size_t start = at;
    at += match->length;
    if (token.single_word && !stands_alone(text, start, at)) continue;
    const size_t end = token.rstrip ? skip_spaces(text, at) : at;
    if (token.lstrip) start = std::max(done, skip_spaces_back(text, start));
    add_text(start);
    if (start < end) segments.push_back({{}, token.id});
    done = end;
  }
  add_text(text.size());
  return segments;
}

template <class Allowed>
std::optional<ByteTrie::Match> AddedTokens::longest(const ByteTrie& trie, std::string_view text,
                                                    const Allowed& allowed) const {
  std::optional<ByteTrie::Match> found;
  trie.for_each_prefix(text, [&](const ByteTrie::Match& match) {
    if (allowed(tokens_[match.value], match.length)) found = match;
  });
  return found;
}

std::vector<AddedTokens::Segment> AddedTokens::split_raw(std::string_view text) const {
  return split(text, raw_, [&](size_t at) { return raw_.longest_prefix(text.substr(at)); });
}

std::vector<AddedTokens::Segment> AddedTokens::split_normalized(std::string_view text) const {
  return split(text, normalized_, [&](size_t at) { return normalized_.longest_prefix(text.substr(at)); });
}

std::vector<AddedTokens::Segment> AddedTokens::split_raw(std::string_view text,
                                                         std::span<const ByteRange> plain) const {
  return split(text, raw_and_special_, [&, next = size_t{0}](size_t at) mutable {
    while (next < plain.size() && plain[next].end <= at) ++next;
    return longest(raw_and_special_, text.substr(at), [&](const AddedToken& token, size_t length) {
      return !token.special || next == plain.size() || at + length <= plain[next].begin;
    });
  });
}

std::vector<AddedTokens::Segment> AddedTokens::split_normalized_without_special(std::string_view text) const {
  return split(text, normalized_, [&](size_t at) {
    return longest(normalized_, text.substr(at), [](const AddedToken& token, size_t) { return !token.special; });
  });
}

}  // namespace lathe::text
