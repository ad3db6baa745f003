// Operators on strings, which are UTF-8.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/ascii.h"
#include "base/pcre.h"
#include "base/utf8.h"
#include "graph/externs/table.h"
#include "graph/reference/indexing.h"

namespace lathe::externs {
namespace {

using reference::Call;
using reference::Sizes;
using reference::write_wide;

using Words = std::vector<std::string>;

void expect_strings(const InferContext& c, size_t count) {
  c.expect_inputs(count, count);
  for (size_t i = 0; i < count; ++i) c.expect_dtype(i, DType::string);
}

// --- string_concat: (a, b) -> a + b, broadcast

Types infer_concat(const Extern& op, InferContext& c) {
  expect_strings(c, 2);
  expect_lists(op, c, 0, 0, 0);
  const Type &a = c.tensor(0), &b = c.tensor(1);
  if (!a.ranked || !b.ranked) return {Type::unranked(DType::string)};
  return {Type::tensor(DType::string, c.broadcast(a.shape, b.shape))};
}

std::vector<RefValue> concat(const Extern&, const Call& call) {
  const Tensor &a = call.tensor(0), &b = call.tensor(1);
  Sizes sizes = reference::broadcast_sizes(a.dims(), b.dims());
  const auto left = reference::offsets(sizes, reference::broadcast_strides(a.dims(), sizes));
  const auto right = reference::offsets(sizes, reference::broadcast_strides(b.dims(), sizes));
  Words words;
  for (size_t i = 0; i < left.size(); ++i)
    words.push_back(a.strings()[static_cast<size_t>(left[i])] + b.strings()[static_cast<size_t>(right[i])]);
  return {Tensor::of_strings(std::move(sizes), std::move(words))};
}

// --- string_split: (x [..]) -> (parts [.., most parts], numbers of parts i64 [..]); what has fewer ends in empty ones.
// integers = [most splits, negative: any number], texts = [delimiter, empty: runs of white space]

Types infer_split(const Extern& op, InferContext& c) {
  expect_strings(c, 1);
  c.expect_outputs(2);
  expect_lists(op, c, 1, 0, 1);
  Type parts = c.tensor(0), counts = parts;
  counts.dtype = DType::i64;
  if (parts.ranked) parts.shape.push_back(c.fresh());
  Types types = {parts, counts};
  types.resize(c.num_outputs());
  return types;
}

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

Words split_at_spaces(std::string_view text, int64_t most) {
  Words parts;
  size_t at = 0;
  const auto skip = [&](bool space) {
    while (at < text.size() && is_space(text[at]) == space) ++at;
  };
  for (skip(true); at < text.size(); skip(true)) {
    const size_t begin = at;
    if (static_cast<int64_t>(parts.size()) == most) {  // the rest as it is, white space behind included
      parts.emplace_back(text.substr(begin));
      break;
    }
    skip(false);
    parts.emplace_back(text.substr(begin, at - begin));
  }
  return parts;
}

Words split_at(std::string_view text, std::string_view delimiter, int64_t most) {
  if (delimiter.empty()) return split_at_spaces(text, most);
  Words parts;
  while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
    const size_t end = text.find(delimiter);
    if (end == std::string_view::npos) break;
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end + delimiter.size());
  }
  parts.emplace_back(text);
  return parts;
}

// The words of each element of x along a new last axis.
Tensor side_by_side(const Tensor& x, std::vector<Words> lists, const std::string& padding) {
  size_t most = 0;
  for (const Words& list : lists) most = std::max(most, list.size());
  Words all;
  for (Words& list : lists) {
    list.resize(most, padding);
    all.insert(all.end(), list.begin(), list.end());
  }
  Sizes sizes = x.dims();
  sizes.push_back(static_cast<int64_t>(most));
  return Tensor::of_strings(std::move(sizes), std::move(all));
}

std::vector<RefValue> split(const Extern& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  std::vector<Words> lists;
  std::vector<int64_t> counts;
  for (const std::string& text : x.strings()) {
    lists.push_back(split_at(text, op.texts[0], op.integers[0]));
    counts.push_back(static_cast<int64_t>(lists.back().size()));
  }
  std::vector<RefValue> results = {side_by_side(x, std::move(lists), ""), write_wide(DType::i64, x.dims(), counts)};
  results.resize(call.num_outputs);
  return results;
}

// --- tokenize: (x [..]) -> the parts of each string that match, from left to right, [.., most parts]; what has fewer
// ends in the padding, and what is no UTF-8 has none. integers = [fewest characters of a part], texts = [pattern, in
// RE2's syntax, padding]

Types infer_tokenize(const Extern& op, InferContext& c) {
  expect_strings(c, 1);
  expect_lists(op, c, 1, 0, 2);
  Type parts = c.tensor(0);
  if (parts.ranked) parts.shape.push_back(c.fresh());
  return {parts};
}

Words matches_in(const std::string& text, Pcre::Searcher& searcher, int64_t shortest) {
  Words parts;
  for (size_t from = 0; is_valid_utf8(text) && from < text.size();) {
    const auto match = searcher.find(text, from);
    if (!match) break;
    const std::string part = text.substr(match->begin, match->end - match->begin);
    if (static_cast<int64_t>(count_code_points(part)) >= shortest) parts.push_back(part);
    from = match->end;
    if (match->end == match->begin && from < text.size()) next_code_point(text, from);
  }
  return parts;
}

std::vector<RefValue> tokenize(const Extern& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  const Pcre pattern(op.texts[0], PcreRules::ascii, op.texts[0]);
  Pcre::Searcher searcher(pattern);
  std::vector<Words> lists;
  for (const std::string& text : x.strings())
    lists.push_back(matches_in(text, searcher, std::max<int64_t>(op.integers[0], 1)));
  return {side_by_side(x, std::move(lists), op.texts[1])};
}

// --- string_normalize: (x [n] or [1, n]) -> the strings that are no stop words, in another case; one empty string if
// none is left. integers = [-1: lower case, 1: upper case, 0: as they are; stop words are case sensitive],
// texts = stop words. Case is that of ASCII letters.

std::string in_case(std::string text, int64_t direction) {
  for (char& c : text) c = direction < 0 ? ascii_lower(c) : direction > 0 ? ascii_upper(c) : c;
  return text;
}

Types infer_normalize(const Extern& op, InferContext& c) {
  expect_strings(c, 1);
  expect_lists(op, c, 2, 0, op.texts.size());
  Type y = c.tensor(0);
  if (!y.ranked) return {y};
  if (y.rank() != 1 && y.rank() != 2) c.fail("strings must stand in one row");
  if (y.rank() == 2) c.same(y.shape[0], 1, "rows of strings");
  y.shape.back() = c.fresh();
  return {y};
}

std::vector<RefValue> normalize(const Extern& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  const bool sensitive = op.integers[1] != 0;
  const auto key = [&](const std::string& text) { return sensitive ? text : in_case(text, -1); };
  const auto is_stop_word = [&](const std::string& text) {
    return std::any_of(op.texts.begin(), op.texts.end(), [&](const std::string& w) { return key(w) == key(text); });
  };
  Words words;
  for (const std::string& text : x.strings())
    if (!is_stop_word(text)) words.push_back(in_case(text, op.integers[0]));
  if (words.empty()) words.emplace_back();
  Sizes sizes(x.dims().size(), 1);
  sizes.back() = static_cast<int64_t>(words.size());
  return {Tensor::of_strings(std::move(sizes), std::move(words))};
}

// --- regex_full_match: (x [..]) -> whether the whole of each string matches, bool [..]; what is no UTF-8 does not.
// texts = [pattern, in RE2's syntax]

Types infer_full_match(const Extern& op, InferContext& c) {
  expect_strings(c, 1);
  expect_lists(op, c, 0, 0, 1);
  Type y = c.tensor(0);
  y.dtype = DType::boolean;
  return {y};
}

std::vector<RefValue> full_match(const Extern& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  const Pcre pattern(op.texts[0], PcreRules::ascii_whole, op.texts[0]);
  Pcre::Searcher searcher(pattern);
  std::vector<int64_t> matches;
  for (const std::string& text : x.strings()) matches.push_back(is_valid_utf8(text) && searcher.find(text).has_value());
  return {write_wide(DType::boolean, x.dims(), matches)};
}

// --- number_to_string: (x [..]) -> [..]. integers = [how floats are written: 0 with up to 8 digits, 1 with 6 behind
// the point]

Types infer_number_to_string(const Extern& op, InferContext& c) {
  c.expect_inputs(1, 1);
  expect_lists(op, c, 1, 0, 0);
  Type y = c.tensor(0);
  if (!is_float(y.dtype) && !is_integer(y.dtype) && y.dtype != DType::boolean) c.fail("the operand is no number");
  y.dtype = DType::string;
  return {y};
}

std::string float_text(double value, bool fixed) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "INF" : "-INF";
  return fixed ? fmt::format("{:.6f}", value) : fmt::format("{:.8g}", value);
}

std::vector<RefValue> number_to_string(const Extern& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  Words words;
  for (int64_t i = 0; i < x.elements(); ++i) {
    if (is_float(x.dtype()))
      words.push_back(float_text(x.read_double(i), op.integers[0] != 0));
    else if (x.dtype() == DType::u64)
      words.push_back(std::to_string(static_cast<uint64_t>(x.read_int(i))));
    else
      words.push_back(std::to_string(x.read_int(i)));
  }
  return {Tensor::of_strings(x.dims(), std::move(words))};
}

// --- string_to_number: (x [..]) -> [..]; white space around a number does not count, integers wrap, and fractions of
// them are dropped. texts = [element type]

std::optional<DType> number_type(const Extern& op) {
  const auto dtype = dtype_from_string(op.texts[0]);
  const bool number = dtype && (is_float(*dtype) || is_integer(*dtype) || *dtype == DType::boolean);
  return number ? dtype : std::nullopt;
}

Types infer_string_to_number(const Extern& op, InferContext& c) {
  expect_strings(c, 1);
  expect_lists(op, c, 0, 0, 1);
  const auto dtype = number_type(op);
  if (!dtype) c.fail("'{}' is no type of numbers", op.texts[0]);
  Type y = c.tensor(0);
  y.dtype = *dtype;
  return {y};
}

// The number that is all of the text.
template <class T>
std::optional<T> parse(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  if (text.starts_with('+')) text.remove_prefix(1);
  T number = {};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if constexpr (std::is_floating_point_v<T>)  // 0 or an infinity
    if (error == std::errc::result_out_of_range && end == text.data() + text.size())
      return std::strtod(std::string(text).c_str(), nullptr);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return number;
}

std::vector<RefValue> string_to_number(const Extern& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  const DType dtype = *number_type(op);
  Tensor y(dtype, x.dims());
  for (int64_t i = 0; i < x.elements(); ++i) {
    const std::string& text = x.strings()[static_cast<size_t>(i)];
    const auto integer = is_float(dtype) ? std::nullopt : parse<int64_t>(text);
    const auto number = integer ? std::nullopt : parse<double>(text);
    if (!integer && (!number || (!is_float(dtype) && !std::isfinite(*number))))
      fail(ErrorCode::invalid_argument, "element {}, '{}', is no {}", i, text, to_string(dtype));
    if (dtype == DType::boolean)
      y.write_int(i, integer ? *integer != 0 : *number != 0);
    else if (integer)
      y.write_int(i, *integer);
    else
      y.write_double(i, is_float(dtype) ? *number : std::trunc(*number));
  }
  return {std::move(y)};
}

constexpr Row kRows[] = {
    {"number_to_string", infer_number_to_string, number_to_string},
    {"regex_full_match", infer_full_match, full_match},
    {"string_concat", infer_concat, concat},
    {"string_normalize", infer_normalize, normalize},
    {"string_split", infer_split, split},
    {"string_to_number", infer_string_to_number, string_to_number},
    {"tokenize", infer_tokenize, tokenize},
};

}  // namespace

std::span<const Row> string_rows() { return kRows; }

}  // namespace lathe::externs
