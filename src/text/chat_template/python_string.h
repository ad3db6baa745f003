// Python's str operations on marked text: positions count characters, white space and case are Unicode's (case mapping
// one character to one). Every result is made of slices of its sources, so that marks stay.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/chat_template/marked_text.h"

namespace lathe::text {

bool is_python_space(char32_t c);  // str.isspace()
bool is_printable(char32_t c);     // str.isprintable()
bool is_letter(char32_t c);        // str.isalpha()
bool is_digit(char32_t c);         // str.isdigit(), decimal digits of any script

char32_t to_upper(char32_t c);
char32_t to_lower(char32_t c);

enum class Side { left, right, both };
// Without `characters`, white space.
MarkedText strip(const MarkedText& text, std::optional<std::string_view> characters, Side side);

MarkedText upper(const MarkedText& text);
MarkedText lower(const MarkedText& text);
MarkedText title(const MarkedText& text);       // str.title(): every run of letters
MarkedText capitalize(const MarkedText& text);  // the first character, the rest in lower case

// `count` replacements at most where it is not negative.
MarkedText replace(const MarkedText& text, std::string_view from, const MarkedText& to, int64_t count);

// Negative `limit`: no limit of splits. Without separator, at runs of white space. `from_right`: rsplit.
std::vector<MarkedText> split(const MarkedText& text, std::optional<std::string_view> separator, int64_t limit,
                              bool from_right);
std::vector<MarkedText> split_lines(const MarkedText& text, bool keep_ends = false);

// The bounds of a[start:stop:step] over `length` elements, as Python clips them.
struct SliceBounds {
  int64_t start, stop, step;
};
SliceBounds slice_bounds(std::optional<int64_t> start, std::optional<int64_t> stop, int64_t step, int64_t length);
// Calls visit(index) for each index of the slice; steps of any size are safe.
template <class Visit>
void for_each_index(const SliceBounds& bounds, const Visit& visit) {
  const auto [start, stop, step] = bounds;
  if (step > 0)
    for (int64_t i = start; i < stop; i = step < stop - i ? i + step : stop) visit(static_cast<size_t>(i));
  else
    for (int64_t i = start; i > stop; i = step > stop - i ? i + step : stop) visit(static_cast<size_t>(i));
}

MarkedText slice_characters(const MarkedText& text, const SliceBounds& bounds);

// The byte offset of each character, and the size at the end.
std::vector<size_t> character_offsets(std::string_view text);

}  // namespace lathe::text
