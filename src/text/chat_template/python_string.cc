#include "text/chat_template/python_string.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/utf8.h"
#include "text/unicode.h"

namespace lathe::text {
namespace {

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

// Applies `map` (character, position among the characters) to each character.
template <class Map>
MarkedText map_characters(const MarkedText& text, const Map& map) {
  MarkedText out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = next_code_point(text.bytes(), at);
    std::string mapped;
    append_utf8(mapped, map(c));
    out.append_as(mapped, text, begin);
  }
  return out;
}

// The offset at which the character that ends at `end` begins.
size_t previous_character(std::string_view text, size_t end) {
  do --end;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80);
  return end;
}

bool is_line_end(char32_t c) {
  return (c >= '\n' && c <= '\r') || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

// Words between runs of white space, as byte ranges.
std::vector<ByteRange> words(std::string_view text) {
  std::vector<ByteRange> out;
  bool in_word = false;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const bool space = is_python_space(next_code_point(text, at));
    if (!space && !in_word) out.push_back({begin, at});
    if (!space) out.back().end = at;
    in_word = !space;
  }
  return out;
}

std::vector<MarkedText> split_words(const MarkedText& text, int64_t limit, bool from_right) {
  std::vector<ByteRange> ranges = words(text.bytes());
  const auto count = static_cast<int64_t>(ranges.size());
  if (limit >= 0 && limit + 1 < count) {  // the words beyond the limit stay together, outer white space cut off
    if (from_right) {
      const auto rest = ranges.begin() + (count - limit);
      const ByteRange head{0, (rest - 1)->end};
      ranges.erase(ranges.begin(), rest);
      ranges.insert(ranges.begin(), head);
    } else {
      ranges[static_cast<size_t>(limit)].end = text.size();
      ranges.resize(static_cast<size_t>(limit) + 1);
    }
  }
  std::vector<MarkedText> out;
  for (const ByteRange& range : ranges) out.push_back(text.slice(range.begin, range.end));
  return out;
}

}  // namespace

bool is_python_space(char32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

bool is_printable(char32_t c) {
  if (c == ' ') return true;
  const auto kind = category(c);
  return !(kind >= UTF8PROC_CATEGORY_ZS && kind <= UTF8PROC_CATEGORY_CO) && kind != UTF8PROC_CATEGORY_CN;
}

bool is_letter(char32_t c) {
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_digit(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

char32_t to_upper(char32_t c) { return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))); }

char32_t to_lower(char32_t c) { return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))); }

MarkedText strip(const MarkedText& text, std::optional<std::string_view> characters, Side side) {
  std::u32string set;
  if (characters)
    for (size_t at = 0; at < characters->size();) set.push_back(next_code_point(*characters, at));
  const auto stripped = [&](char32_t c) {
    return characters ? set.find(c) != std::u32string::npos : is_python_space(c);
  };
  const std::string& bytes = text.bytes();
  size_t begin = 0, end = bytes.size();
  while (side != Side::right && begin < end) {
    size_t at = begin;
    if (!stripped(next_code_point(bytes, at))) break;
    begin = at;
  }
  while (side != Side::left && begin < end) {
    const size_t last = previous_character(bytes, end);
    size_t at = last;
    if (!stripped(next_code_point(bytes, at))) break;
    end = last;
  }
  return text.slice(begin, end);
}

MarkedText upper(const MarkedText& text) { return map_characters(text, to_upper); }

MarkedText lower(const MarkedText& text) { return map_characters(text, to_lower); }

MarkedText title(const MarkedText& text) {
  bool in_word = false;
  return map_characters(text, [&](char32_t c) {
    const bool inside = std::exchange(in_word, is_letter(c));
    return inside ? to_lower(c) : to_upper(c);
  });
}

MarkedText capitalize(const MarkedText& text) {
  bool first = true;
  return map_characters(text, [&](char32_t c) { return std::exchange(first, false) ? to_upper(c) : to_lower(c); });
}

MarkedText replace(const MarkedText& text, std::string_view from, const MarkedText& to, int64_t count) {
  MarkedText out;
  size_t at = 0;
  if (from.empty()) {  // between all characters
    for (; count != 0; --count) {
      out.append(to);
      if (at == text.size()) return out;
      const size_t begin = at;
      next_code_point(text.bytes(), at);
      out.append(text, begin, at);
    }
  } else {
    for (; count != 0; --count) {
      const size_t found = text.bytes().find(from, at);
      if (found == std::string::npos) break;
      out.append(text, at, found);
      out.append(to);
      at = found + from.size();
    }
  }
  out.append(text, at, text.size());
  return out;
}

std::vector<MarkedText> split(const MarkedText& text, std::optional<std::string_view> separator, int64_t limit,
                              bool from_right) {
  if (!separator) return split_words(text, limit, from_right);
  const std::string& bytes = text.bytes();
  std::vector<MarkedText> out;
  if (from_right) {
    size_t end = bytes.size();
    for (; limit != 0 && end >= separator->size(); --limit) {
      const size_t found = bytes.rfind(*separator, end - separator->size());
      if (found == std::string::npos) break;
      out.push_back(text.slice(found + separator->size(), end));
      end = found;
    }
    out.push_back(text.slice(0, end));
    std::reverse(out.begin(), out.end());
    return out;
  }
  size_t begin = 0;
  for (; limit != 0; --limit) {
    const size_t found = bytes.find(*separator, begin);
    if (found == std::string::npos) break;
    out.push_back(text.slice(begin, found));
    begin = found + separator->size();
  }
  out.push_back(text.slice(begin, bytes.size()));
  return out;
}

std::vector<MarkedText> split_lines(const MarkedText& text, bool keep_ends) {
  const std::string& bytes = text.bytes();
  std::vector<MarkedText> out;
  size_t begin = 0;
  for (size_t at = 0; at < bytes.size();) {
    const size_t end = at;
    const char32_t c = next_code_point(bytes, at);
    if (!is_line_end(c)) continue;
    if (c == '\r' && at < bytes.size() && bytes[at] == '\n') ++at;
    out.push_back(text.slice(begin, keep_ends ? at : end));
    begin = at;
  }
  if (begin < bytes.size()) out.push_back(text.slice(begin, bytes.size()));
  return out;
}

SliceBounds slice_bounds(std::optional<int64_t> start, std::optional<int64_t> stop, int64_t step, int64_t length) {
  const int64_t first = step > 0 ? 0 : -1, last = step > 0 ? length : length - 1;
  const auto clip = [&](int64_t position) {
    if (position < 0) position = std::max(position, -length - 1) + length;
    return std::clamp(position, first, last);
  };
  return {start ? clip(*start) : (step > 0 ? first : last), stop ? clip(*stop) : (step > 0 ? last : first), step};
}

MarkedText slice_characters(const MarkedText& text, const SliceBounds& bounds) {
  const std::vector<size_t> offsets = character_offsets(text.bytes());
  const auto [start, stop, step] = bounds;
  if (step == 1)
    return start < stop ? text.slice(offsets[static_cast<size_t>(start)], offsets[static_cast<size_t>(stop)])
                        : MarkedText();
  MarkedText out;
  for_each_index(bounds, [&](size_t i) { out.append(text, offsets[i], offsets[i + 1]); });
  return out;
}

std::vector<size_t> character_offsets(std::string_view text) {
  std::vector<size_t> offsets{0};
  for (size_t at = 0; at < text.size(); offsets.push_back(at)) next_code_point(text, at);
  return offsets;
}

}  // namespace lathe::text
