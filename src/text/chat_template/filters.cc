// Filters of single values: text, numbers, JSON. What works on sequences is in sequence_filters.cc.
#include <array>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/utf8.h"
#include "text/chat_template/arguments.h"
#include "text/chat_template/builtin_table.h"
#include "text/chat_template/format.h"
#include "text/chat_template/operators.h"
#include "text/chat_template/python_string.h"
#include "text/chat_template/value_text.h"

namespace lathe::text {
namespace {

template <MarkedText (*function)(const MarkedText&)>
Value map_text(Meter& meter, const Value& input, Arguments& arguments) {
  arguments.done("the filter");
  return function(to_text(input, meter));
}

Value trim(Meter& meter, const Value& input, Arguments& arguments) {
  const auto characters = optional_bytes(arguments.next("chars"));
  arguments.done("trim");
  return strip(to_text(input, meter), characters, Side::both);
}

bool separates_words(char c) { return std::string_view("- \t\n\r\f\v({[<").find(c) != std::string_view::npos; }

// Jinja's own notion: words are what stands between white space, hyphens and opening brackets.
Value title_case(Meter& meter, const Value& input, Arguments& arguments) {
  arguments.done("title");
  const MarkedText text = to_text(input, meter);
  MarkedText out;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin;
    while (end < text.size() && !separates_words(text.bytes()[end])) ++end;
    out.append(capitalize(text.slice(begin, end)));
    for (begin = end; begin < text.size() && separates_words(text.bytes()[begin]);) ++begin;
    out.append(text, end, begin);
  }
  return out;
}

Value string_filter(Meter& meter, const Value& input, Arguments& arguments) {
  arguments.done("string");
  return to_text(input, meter);
}

Value identity(Meter&, const Value& input, Arguments& arguments) {
  arguments.done("safe");
  return input;
}

Value escape(Meter& meter, const Value& input, Arguments& arguments) {
  arguments.done("escape");
  static constexpr std::array<std::pair<char, std::string_view>, 5> kEscapes = {
      {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'\'', "&#39;"}, {'"', "&#34;"}}};
  const MarkedText text = to_text(input, meter);
  MarkedText out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto found = std::find_if(kEscapes.begin(), kEscapes.end(),
                                    [&](const auto& entry) { return entry.first == text.bytes()[i]; });
    if (found != kEscapes.end())
      out.append_as(found->second, text, i);
    else
      out.append(text, i, i + 1);
  }
  return out;
}

Value replace_filter(Meter& meter, const Value& input, Arguments& arguments) {
  const MarkedText text = to_text(input, meter);
  const MarkedText from = to_text(required(arguments.next("old"), "replace", "old"), meter);
  const MarkedText to = to_text(required(arguments.next("new"), "replace", "new"), meter);
  const int64_t count = integer_or(arguments.next("count"), -1);
  arguments.done("replace");
  meter.spend_bytes((text.size() / std::max<size_t>(from.size(), 1) + 1) * to.size());
  return replace(text, from.bytes(), to, count);
}

Value indent(Meter& meter, const Value& input, Arguments& arguments) {
  const Value* width = arguments.next("width");
  MarkedText margin;
  if (width != nullptr && width->text() != nullptr) {
    margin = *width->text();
  } else {
    const auto count = static_cast<size_t>(std::max<int64_t>(integer_or(width, 4), 0));
    meter.spend_bytes(count);
    margin = MarkedText(std::string(count, ' '));
  }
  const bool first = truth_or(arguments.next("first"), false), blank = truth_or(arguments.next("blank"), false);
  arguments.done("indent");
  MarkedText text = required_text(&input, "indent", "s");
  text.append("\n");
  const std::vector<MarkedText> lines = split_lines(text);
  meter.spend_bytes(lines.size() * margin.size());
  MarkedText out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.append("\n");
    if (i == 0 ? first : (blank || !lines[i].empty())) out.append(margin);
    out.append(lines[i]);
  }
  return out;
}

Value truncate(Meter& meter, const Value& input, Arguments& arguments) {
  const int64_t limit = std::max<int64_t>(integer_or(arguments.next("length"), 255), 0);
  const bool kill_words = truth_or(arguments.next("killwords"), false);
  const MarkedText* given = optional_text(arguments.next("end"));
  const MarkedText ending = given != nullptr ? *given : MarkedText("...");
  const int64_t leeway = integer_or(arguments.next("leeway"), 5);
  arguments.done("truncate");
  const MarkedText text = to_text(input, meter);
  const auto length = static_cast<int64_t>(count_code_points(text.bytes()));
  const auto kept = limit - static_cast<int64_t>(count_code_points(ending.bytes()));
  if (kept < 0 || leeway < 0) fail(ErrorCode::invalid_model, "truncate: the length is less than that of the ending");
  if (length - leeway <= limit) return text;
  MarkedText out = slice_characters(text, slice_bounds(0, kept, 1, length));
  if (const size_t space = out.bytes().rfind(' '); !kill_words && space != std::string::npos) out = out.slice(0, space);
  out.append(ending);
  return out;
}

Value center(Meter& meter, const Value& input, Arguments& arguments) {
  Arguments handed_on = arguments.rest();
  if (handed_on.positional.empty() && handed_on.named.empty()) handed_on.positional.emplace_back(int64_t{80});
  const Value text(to_text(input, meter));
  return find_method(text, "center")(meter, text, handed_on);
}

Value wordcount(Meter& meter, const Value& input, Arguments& arguments) {
  arguments.done("wordcount");
  const MarkedText text = to_text(input, meter);
  int64_t words = 0;
  bool in_word = false;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text.bytes(), at);
    const bool part = is_letter(c) || is_digit(c) || c == '_';
    words += part && !in_word;
    in_word = part;
  }
  return words;
}

// "%s" % (...), the values being the filter's arguments.
Value format_filter(Meter& meter, const Value& input, Arguments& arguments) {
  const MarkedText format = to_text(input, meter);
  const Arguments given = arguments.rest();
  if (given.named.empty()) return format_percent(format, make_list(given.positional, ListKind::tuple), meter);
  if (!given.positional.empty()) fail(ErrorCode::invalid_model, "format takes positional or named values, not both");
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [name, value] : given.named) entries.emplace_back(Value(name), value);
  return format_percent(format, make_dict(std::move(entries)), meter);
}

JsonStyle json_style(Arguments& arguments) {
  JsonStyle style;
  style.ensure_ascii = truth_or(arguments.next("ensure_ascii"), false);
  const Value* indent = arguments.next("indent");
  if (const Value* separators = arguments.next("separators"); separators != nullptr && !separators->is_none()) {
    const List* pair = separators->list();
    if (pair == nullptr || pair->values.size() != 2) type_error("separators are a pair of strings, not", *separators);
    style.item_separator = required_text(&pair->values[0], "tojson", "separators").bytes();
    style.key_separator = required_text(&pair->values[1], "tojson", "separators").bytes();
  } else if (indent != nullptr && !indent->is_none()) {
    style.item_separator.assign(1, ',');  // the line end takes the space's place
  }
  style.sort_keys = truth_or(arguments.next("sort_keys"), false);
  if (indent != nullptr && indent->text() != nullptr)
    style.indent = indent->text()->bytes();
  else if (const auto width = optional_integer(indent))
    style.indent = std::string(static_cast<size_t>(std::clamp<int64_t>(*width, 0, 100)), ' ');
  return style;
}

Value tojson(Meter& meter, const Value& input, Arguments& arguments) {
  const JsonStyle style = json_style(arguments);
  arguments.done("tojson");
  return to_json(input, style, meter);
}

Value default_filter(Meter&, const Value& input, Arguments& arguments) {
  const Value* otherwise = arguments.next("default_value");
  const bool for_any_false = truth_or(arguments.next("boolean"), false);
  arguments.done("default");
  if (!input.is_undefined() && !(for_any_false && !truth(input))) return input;
  return otherwise != nullptr ? *otherwise : Value(std::string());
}

template <class Number, class... Base>
std::optional<Number> parse_number(const MarkedText& text, Base... base) {
  std::string digits = strip(text, std::nullopt, Side::both).bytes();
  digits.erase(std::remove(digits.begin(), digits.end(), '_'), digits.end());
  const size_t plus = digits.size() > 1 && digits[0] == '+' && digits[1] != '-';
  Number number{};
  const auto [end, code] = std::from_chars(digits.data() + plus, digits.data() + digits.size(), number, base...);
  if (code != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

Value whole_number(double number, const Value& otherwise) {
  return std::abs(number) < 9.2e18 ? Value(static_cast<int64_t>(number)) : otherwise;
}

Value int_filter(Meter&, const Value& input, Arguments& arguments) {
  const Value* given = arguments.next("default");
  Value otherwise = given != nullptr ? *given : Value(int64_t{0});
  const int64_t base = integer_or(arguments.next("base"), 10);
  arguments.done("int");
  if (base < 2 || base > 36) fail(ErrorCode::invalid_model, "int: the base must lie between 2 and 36");
  if (input.is_undefined()) type_error("", input);
  if (const auto number = input.integer()) return *number;
  if (const auto number = input.number()) return whole_number(*number, otherwise);
  const MarkedText* text = input.text();
  if (text == nullptr) return otherwise;
  if (const auto number = parse_number<int64_t>(*text, static_cast<int>(base))) return *number;
  const auto real = parse_number<double>(*text);
  return real ? whole_number(*real, otherwise) : otherwise;
}

Value float_filter(Meter&, const Value& input, Arguments& arguments) {
  const Value* given = arguments.next("default");
  const Value otherwise = given != nullptr ? *given : Value(0.0);
  arguments.done("float");
  if (input.is_undefined()) type_error("", input);
  if (const auto number = input.number()) return *number;
  const auto parsed = input.text() != nullptr ? parse_number<double>(*input.text()) : std::nullopt;
  return parsed ? Value(*parsed) : otherwise;
}

Value absolute(Meter&, const Value& input, Arguments& arguments) {
  arguments.done("abs");
  if (input.number() && *input.number() < 0) return apply_unary(ast::UnaryOp::negate, input);
  return apply_unary(ast::UnaryOp::plus, input);
}

Value round_number(Meter&, const Value& input, Arguments& arguments) {
  const int64_t precision = integer_or(arguments.next("precision"), 0);
  const auto method = optional_bytes(arguments.next("method")).value_or("common");
  const bool common = method == "common";
  if (!common && method != "ceil" && method != "floor") fail(ErrorCode::invalid_model, "round: unknown method");
  const auto number = input.number();
  if (!number) type_error("only a number can be rounded, not", input);
  arguments.done("round");
  if (common && precision >= 0) {
    if (const auto integer = input.integer()) return *integer;
    return std::stod(fmt::format("{:.{}f}", *number, std::min<int64_t>(precision, 300)));  // ties to even
  }
  const double scale = std::pow(10.0, static_cast<double>(precision)), scaled = *number * scale;
  return (common ? std::nearbyint(scaled) : (method == "ceil" ? std::ceil(scaled) : std::floor(scaled))) / scale;
}

Value attribute_of(Meter& meter, const Value& input, Arguments& arguments) {
  const Value name = required(arguments.next("name"), "attr", "name");
  arguments.done("attr");
  if (input.object() == nullptr) return Value::undefined("attr finds no attribute");
  return subscript(input, name, meter);
}

constexpr std::array<Builtin<FilterFunction>, 24> kFilters = {{
    {"abs", absolute},       {"attr", attribute_of},     {"capitalize", map_text<capitalize>},
    {"center", center},      {"d", default_filter},      {"default", default_filter},
    {"e", escape},           {"escape", escape},         {"float", float_filter},
    {"forceescape", escape}, {"format", format_filter},  {"indent", indent},
    {"int", int_filter},     {"lower", map_text<lower>}, {"replace", replace_filter},
    {"round", round_number}, {"safe", identity},         {"string", string_filter},
    {"title", title_case},   {"tojson", tojson},         {"trim", trim},
    {"truncate", truncate},  {"upper", map_text<upper>}, {"wordcount", wordcount},
}};

}  // namespace

FilterFunction find_filter(std::string_view name) {
  static_assert(is_sorted(kFilters));
  const FilterFunction filter = find_builtin(kFilters, name);
  return filter != nullptr ? filter : find_sequence_filter(name);
}

FilterFunction require_filter(std::string_view name) {
  const FilterFunction filter = find_filter(name);
  if (filter == nullptr) fail(ErrorCode::unsupported, "there is no filter '{}'", name);
  return filter;
}

}  // namespace lathe::text
