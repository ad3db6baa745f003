#include "text/charsmap.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/utf8.h"
#include "text/unicode.h"

namespace lathe::text {
namespace {

// A unit of the double array: the label of the edge into it, the offset to its children, and whether one of those is a
// leaf, which holds a value.
bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t value(uint32_t unit) { return unit & 0x7FFFFFFFu; }
uint32_t label(uint32_t unit) { return unit & 0x800000FFu; }
uint32_t offset(uint32_t unit) { return unit >> 10 << ((unit & 0x200u) >> 6); }

constexpr size_t kLongestMappedGrapheme = 5;  // in bytes

}  // namespace

Charsmap::Charsmap(std::string_view blob) {
  if (blob.empty()) return;
  uint32_t trie_bytes = 0;
  if (blob.size() < sizeof trie_bytes) fail(ErrorCode::invalid_model, "the character map is cut off");
  std::memcpy(&trie_bytes, blob.data(), sizeof trie_bytes);
  blob.remove_prefix(sizeof trie_bytes);
  if (trie_bytes > blob.size() || trie_bytes % sizeof(uint32_t) != 0 || trie_bytes == 0)
    fail(ErrorCode::invalid_model, "the character map announces a trie of {} bytes and has {}", trie_bytes,
         blob.size());
  units_.resize(trie_bytes / sizeof(uint32_t));
  std::memcpy(units_.data(), blob.data(), trie_bytes);
  replacements_ = to_valid_utf8(blob.substr(trie_bytes));
  if (replacements_.size() != blob.size() - trie_bytes)
    fail(ErrorCode::invalid_model, "the character map's replacements are no UTF-8");
}

std::optional<Charsmap::Match> Charsmap::find(std::string_view text, bool stop_at_first) const {
  std::optional<Match> match;
  if (units_.empty()) return match;
  size_t at = offset(units_[0]);
  for (size_t i = 0; i < text.size() && text[i] != '\0'; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    at ^= byte;
    if (at >= units_.size() || label(units_[at]) != byte) break;
    const uint32_t unit = units_[at];
    at ^= offset(unit);
    if (!has_leaf(unit) || at >= units_.size()) continue;
    const size_t start = value(units_[at]);
    if (start >= replacements_.size()) continue;
    const size_t end = std::min(replacements_.find('\0', start), replacements_.size());
    match = Match{i + 1, std::string_view(replacements_).substr(start, end - start)};
    if (stop_at_first) break;
  }
  return match;
}

std::string PrecompiledNormalizer::normalize(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  const auto map_whole = [&](std::string_view part) {
    const auto match = map_.shortest_prefix(part);
    if (match) out += match->replacement;
    return match.has_value();
  };
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    end = grapheme_end(text, begin);
    if (end - begin <= kLongestMappedGrapheme && map_whole(text.substr(begin, end - begin))) continue;
    for (size_t i = begin; i < end;) {
      const size_t start = i;
      next_code_point(text, i);
      const std::string_view character = text.substr(start, i - start);
      if (!map_whole(character)) out += character;
    }
  }
  return out;
}

}  // namespace lathe::text
