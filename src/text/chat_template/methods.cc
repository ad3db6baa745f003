#include <array>

#include "base/error.h"
#include "base/utf8.h"
#include "text/chat_template/arguments.h"
#include "text/chat_template/builtin_table.h"
#include "text/chat_template/format.h"
#include "text/chat_template/python_string.h"
#include "text/chat_template/value_text.h"

namespace lathe::text {
namespace {

Value text_list(std::vector<MarkedText> parts, Meter& meter, ListKind kind = ListKind::list) {
  meter.spend_elements(parts.size());
  return make_list(Values(std::make_move_iterator(parts.begin()), std::make_move_iterator(parts.end())), kind);
}

template <MarkedText (*function)(const MarkedText&)>
Value map_text(Meter&, const Value& self, Arguments& arguments) {
  arguments.done("a method of strings");
  return function(*self.text());
}

template <Side side>
Value strip_text(Meter&, const Value& self, Arguments& arguments) {
  const auto characters = optional_bytes(arguments.next("chars"));
  arguments.done("strip");
  return strip(*self.text(), characters, side);
}

template <bool from_right>
Value split_text(Meter& meter, const Value& self, Arguments& arguments) {
  const auto separator = optional_bytes(arguments.next("sep"));
  const int64_t limit = integer_or(arguments.next("maxsplit"), -1);
  arguments.done("split");
  if (separator && separator->empty()) fail(ErrorCode::invalid_model, "split needs a separator that is not empty");
  return text_list(split(*self.text(), separator, limit, from_right), meter);
}

Value splitlines(Meter& meter, const Value& self, Arguments& arguments) {
  const bool keep_ends = truth_or(arguments.next("keepends"), false);
  arguments.done("splitlines");
  return text_list(split_lines(*self.text(), keep_ends), meter);
}

template <bool from_right>
Value partition(Meter& meter, const Value& self, Arguments& arguments) {
  const MarkedText& text = *self.text();
  const MarkedText separator = required_text(arguments.next("sep"), "partition", "sep");
  arguments.done("partition");
  if (separator.empty()) fail(ErrorCode::invalid_model, "partition needs a separator that is not empty");
  const std::string& bytes = text.bytes();
  const size_t found = from_right ? bytes.rfind(separator.bytes()) : bytes.find(separator.bytes());
  if (found == std::string::npos) {
    if (from_right) return text_list({MarkedText(), MarkedText(), text}, meter, ListKind::tuple);
    return text_list({text, MarkedText(), MarkedText()}, meter, ListKind::tuple);
  }
  const size_t behind = found + separator.size();
  return text_list({text.slice(0, found), text.slice(found, behind), text.slice(behind, text.size())}, meter,
                   ListKind::tuple);
}

// The part of the text that arguments start and end choose, as characters.
MarkedText bounded(const MarkedText& text, Arguments& arguments) {
  const auto start = optional_integer(arguments.next("start"));
  const auto end = optional_integer(arguments.next("end"));
  if (!start && !end) return text;
  return slice_characters(text, slice_bounds(start, end, 1, static_cast<int64_t>(count_code_points(text.bytes()))));
}

template <bool at_end>
Value has_affix(Meter&, const Value& self, Arguments& arguments) {
  const Value affix = required(arguments.next("prefix"), "startswith, endswith", "prefix");
  const MarkedText text = bounded(*self.text(), arguments);
  arguments.done("startswith, endswith");
  const auto matches = [&](const Value& candidate) {
    const std::string& wanted = required_text(&candidate, "startswith, endswith", "prefix").bytes();
    if (wanted.size() > text.size()) return false;
    return text.bytes().compare(at_end ? text.size() - wanted.size() : 0, wanted.size(), wanted) == 0;
  };
  const List* choices = affix.list();
  if (choices == nullptr || !choices->is_tuple()) return matches(affix);
  return std::any_of(choices->values.begin(), choices->values.end(), matches);
}

template <bool at_end>
Value remove_affix(Meter&, const Value& self, Arguments& arguments) {
  const MarkedText& text = *self.text();
  const std::string affix = required_text(arguments.next("prefix"), "removeprefix, removesuffix", "prefix").bytes();
  arguments.done("removeprefix, removesuffix");
  if (affix.size() > text.size() || text.bytes().compare(at_end ? text.size() - affix.size() : 0, affix.size(), affix))
    return self;
  return at_end ? text.slice(0, text.size() - affix.size()) : text.slice(affix.size(), text.size());
}

Value replace_text(Meter& meter, const Value& self, Arguments& arguments) {
  const MarkedText& text = *self.text();
  const MarkedText from = required_text(arguments.next("old"), "replace", "old");
  const MarkedText to = required_text(arguments.next("new"), "replace", "new");
  const int64_t count = integer_or(arguments.next("count"), -1);
  arguments.done("replace");
  meter.spend_bytes(text.size() + (text.size() / std::max<size_t>(from.size(), 1) + 1) * to.size());
  return replace(text, from.bytes(), to, count);
}

Value join_text(Meter& meter, const Value& self, Arguments& arguments) {
  const Value parts = required(arguments.next("iterable"), "join", "iterable");
  arguments.done("join");
  MarkedText out;
  bool first = true;
  for (const Value& part : elements(parts, meter)) {
    if (part.text() == nullptr) type_error("join needs strings, not", part);
    meter.spend_bytes(part.text()->size() + self.text()->size());
    if (!std::exchange(first, false)) out.append(*self.text());
    out.append(*part.text());
  }
  return out;
}

// The position of a character, -1 when it is not there.
template <bool from_right, bool required_there>
Value find_text(Meter&, const Value& self, Arguments& arguments) {
  const std::string wanted = required_text(arguments.next("sub"), "find", "sub").bytes();
  const auto start = optional_integer(arguments.next("start"));
  const auto end = optional_integer(arguments.next("end"));
  arguments.done("find");
  const MarkedText& text = *self.text();
  const auto bounds = slice_bounds(start, end, 1, static_cast<int64_t>(count_code_points(text.bytes())));
  const std::string part = slice_characters(text, bounds).bytes();
  const size_t found = from_right ? part.rfind(wanted) : part.find(wanted);
  if (found != std::string::npos && bounds.start <= bounds.stop)
    return bounds.start + static_cast<int64_t>(count_code_points(std::string_view(part).substr(0, found)));
  if (required_there) fail(ErrorCode::invalid_model, "the substring was not found");
  return int64_t{-1};
}

Value count_text(Meter&, const Value& self, Arguments& arguments) {
  const std::string wanted = required_text(arguments.next("sub"), "count", "sub").bytes();
  const MarkedText text = bounded(*self.text(), arguments);
  arguments.done("count");
  if (wanted.empty()) return static_cast<int64_t>(count_code_points(text.bytes()) + 1);
  int64_t count = 0;
  for (size_t at = text.bytes().find(wanted); at != std::string::npos;
       at = text.bytes().find(wanted, at + wanted.size()))
    ++count;
  return count;
}

template <bool (*predicate)(char32_t)>
Value all_characters(Meter&, const Value& self, Arguments& arguments) {
  arguments.done("a method of strings");
  const std::string& bytes = self.text()->bytes();
  for (size_t at = 0; at < bytes.size();)
    if (!predicate(next_code_point(bytes, at))) return false;
  return !bytes.empty();
}

bool is_letter_or_digit(char32_t c) { return is_letter(c) || is_digit(c); }

// Whether there are cased characters and all of them are of this case.
template <char32_t (*to_case)(char32_t)>
Value is_of_case(Meter&, const Value& self, Arguments& arguments) {
  arguments.done("a method of strings");
  const std::string& bytes = self.text()->bytes();
  bool any = false;
  for (size_t at = 0; at < bytes.size();) {
    const char32_t c = next_code_point(bytes, at);
    if (to_case(c) != c) return false;
    any = any || to_lower(c) != to_upper(c);
  }
  return any;
}

// How many of `missing` fill characters go before the text.
using FillBefore = size_t (*)(size_t missing, size_t width);
constexpr size_t fill_none(size_t, size_t) { return 0; }
constexpr size_t fill_all(size_t missing, size_t) { return missing; }
constexpr size_t fill_half(size_t missing, size_t width) { return missing / 2 + (missing & width & 1); }

MarkedText padded(const MarkedText& text, size_t sign, const Value& width, std::string_view fill, FillBefore before,
                  Meter& meter) {
  const auto wanted = static_cast<size_t>(std::max<int64_t>(integer_or(&width, 0), 0));
  const size_t length = count_code_points(text.bytes()), missing = wanted - std::min(length, wanted);
  meter.spend_bytes(missing);
  MarkedText out = text.slice(0, sign);
  const size_t head = before(missing, wanted);
  for (size_t i = 0; i < head; ++i) out.append(fill);
  out.append(text, sign, text.size());
  for (size_t i = head; i < missing; ++i) out.append(fill);
  return out;
}

template <FillBefore before>
Value pad_text(Meter& meter, const Value& self, Arguments& arguments) {
  const Value width = required(arguments.next("width"), "a padding method", "width");
  const auto fill = std::string(optional_bytes(arguments.next("fillchar")).value_or(" "));
  arguments.done("a padding method");
  if (count_code_points(fill) != 1) fail(ErrorCode::invalid_model, "the fill character must be one character");
  return padded(*self.text(), 0, width, fill, before, meter);
}

Value zfill(Meter& meter, const Value& self, Arguments& arguments) {
  const Value width = required(arguments.next("width"), "zfill", "width");
  arguments.done("zfill");
  const bool sign = self.text()->bytes().starts_with('-') || self.text()->bytes().starts_with('+');
  return padded(*self.text(), sign, width, "0", fill_all, meter);
}

Value format_text(Meter& meter, const Value& self, Arguments& arguments) {
  return format_braces(*self.text(), arguments, meter);
}

constexpr std::array<Builtin<Method>, 36> kTextMethods = {{
    {"capitalize", map_text<capitalize>},
    {"casefold", map_text<lower>},
    {"center", pad_text<fill_half>},
    {"count", count_text},
    {"endswith", has_affix<true>},
    {"find", find_text<false, false>},
    {"format", format_text},
    {"index", find_text<false, true>},
    {"isalnum", all_characters<is_letter_or_digit>},
    {"isalpha", all_characters<is_letter>},
    {"isdecimal", all_characters<is_digit>},
    {"isdigit", all_characters<is_digit>},
    {"islower", is_of_case<to_lower>},
    {"isnumeric", all_characters<is_digit>},
    {"isspace", all_characters<is_python_space>},
    {"isupper", is_of_case<to_upper>},
    {"join", join_text},
    {"ljust", pad_text<fill_none>},
    {"lower", map_text<lower>},
    {"lstrip", strip_text<Side::left>},
    {"partition", partition<false>},
    {"removeprefix", remove_affix<false>},
    {"removesuffix", remove_affix<true>},
    {"replace", replace_text},
    {"rfind", find_text<true, false>},
    {"rjust", pad_text<fill_all>},
    {"rpartition", partition<true>},
    {"rsplit", split_text<true>},
    {"rstrip", strip_text<Side::right>},
    {"split", split_text<false>},
    {"splitlines", splitlines},
    {"startswith", has_affix<false>},
    {"strip", strip_text<Side::both>},
    {"title", map_text<title>},
    {"upper", map_text<upper>},
    {"zfill", zfill},
}};
static_assert(is_sorted(kTextMethods));

Value dict_get(Meter& meter, const Value& self, Arguments& arguments) {
  const Value key = required(arguments.next("key"), "get", "key");
  const Value* otherwise = arguments.next("default");
  arguments.done("get");
  meter.spend(self.dict()->entries.size() / 8);
  if (const Value* found = self.dict()->find(key)) return *found;
  return otherwise != nullptr ? *otherwise : Value(None{});
}

template <ListKind kind>
Value dict_view(Meter& meter, const Value& self, Arguments& arguments) {
  arguments.done(kind_name(kind));
  Values out;
  for (const auto& [key, value] : self.dict()->entries)
    out.push_back(
        kind == ListKind::keys ? key : (kind == ListKind::values ? value : make_list({key, value}, ListKind::tuple)));
  meter.spend_elements(out.size());
  return make_list(std::move(out), kind);
}

Value copy(Meter&, const Value& self, Arguments& arguments) {
  arguments.done("copy");
  return self;
}

constexpr std::array<Builtin<Method>, 5> kDictMethods = {{{"copy", copy},
                                                          {"get", dict_get},
                                                          {"items", dict_view<ListKind::items>},
                                                          {"keys", dict_view<ListKind::keys>},
                                                          {"values", dict_view<ListKind::values>}}};
static_assert(is_sorted(kDictMethods));

Value list_count(Meter& meter, const Value& self, Arguments& arguments) {
  const Value wanted = required(arguments.next("value"), "count", "value");
  arguments.done("count");
  const Values& values = self.list()->values;
  return static_cast<int64_t>(
      std::count_if(values.begin(), values.end(), [&](const Value& value) { return equal(value, wanted, meter); }));
}

Value list_index(Meter& meter, const Value& self, Arguments& arguments) {
  const Value wanted = required(arguments.next("value"), "index", "value");
  arguments.done("index");
  const Values& values = self.list()->values;
  const auto found =
      std::find_if(values.begin(), values.end(), [&](const Value& value) { return equal(value, wanted, meter); });
  if (found == values.end()) fail(ErrorCode::invalid_model, "the list holds no such value");
  return static_cast<int64_t>(found - values.begin());
}

constexpr std::array<Builtin<Method>, 3> kListMethods = {
    {{"copy", copy}, {"count", list_count}, {"index", list_index}}};
static_assert(is_sorted(kListMethods));

}  // namespace

Method find_method(const Value& self, std::string_view name) {
  if (self.text() != nullptr) return find_builtin(kTextMethods, name);
  if (self.dict() != nullptr) return find_builtin(kDictMethods, name);
  if (self.list() != nullptr && self.list()->indexable()) return find_builtin(kListMethods, name);
  return nullptr;
}

}  // namespace lathe::text
