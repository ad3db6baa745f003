#include "graph/text_cursor.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/error.h"
#include "graph/text_names.h"

namespace lathe {
namespace {

bool is_word_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

}  // namespace

void TextCursor::error_at(size_t position, std::string_view why) const {
  const std::string_view before = text_.substr(0, position);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const size_t line_begin = before.rfind('\n');
  const size_t column = position - (line_begin == std::string_view::npos ? 0 : line_begin + 1) + 1;
  fail(ErrorCode::invalid_argument, "line {}, column {}: {}", line, column, why);
}

void TextCursor::located(size_t position, const std::function<void()>& body) const {
  try {
    body();
  } catch (const Error& e) {
    error_at(position, e.message());
  }
}

void TextCursor::skip_space() {
  while (pos_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[pos_]))) ++pos_;
}

size_t TextCursor::position() {
  skip_space();
  return pos_;
}

bool TextCursor::at_end() { return position() == text_.size(); }

bool TextCursor::starts_with(char c) { return position() < text_.size() && text_[pos_] == c; }

bool TextCursor::accept(std::string_view token) {
  skip_space();
  if (text_.substr(pos_, token.size()) != token) return false;
  const size_t end = pos_ + token.size();
  if (is_word_char(token.back()) && end < text_.size() && is_word_char(text_[end])) return false;
  pos_ = end;
  return true;
}

void TextCursor::expect(std::string_view token) {
  if (!accept(token)) error(fmt::format("'{}' expected", token));
}

template <class Predicate>
std::string_view TextCursor::take_while(Predicate&& predicate) {
  skip_space();
  const size_t begin = pos_;
  while (pos_ < text_.size() && predicate(text_[pos_])) ++pos_;
  return text_.substr(begin, pos_ - begin);
}

std::string_view TextCursor::word() { return take_while(is_word_char); }

std::string_view TextCursor::number() {
  return take_while([](char c) { return is_word_char(c) || c == '.' || c == '-' || c == '+'; });
}

char TextCursor::escape() {
  if (pos_ >= text_.size()) error("the string does not end");
  const char c = text_[pos_++];
  if (c == 'n') return '\n';
  if (c != 'x') return c;
  unsigned value = 0;
  const std::string_view digits = text_.substr(pos_, 2);
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (ec != std::errc() || end != digits.data() + 2) error("two hexadecimal digits expected");
  pos_ += 2;
  return static_cast<char>(value);
}

std::string TextCursor::quoted_string() {
  const size_t begin = position();
  expect("\"");
  std::string result;
  while (pos_ < text_.size() && text_[pos_] != '"') {
    const char c = text_[pos_++];
    result += c == '\\' ? escape() : c;
  }
  if (pos_ == text_.size()) error_at(begin, "the string does not end");
  ++pos_;
  return result;
}

std::string TextCursor::name() {
  if (starts_with('"')) return quoted_string();
  const std::string_view bare = take_while(is_bare_char);
  if (bare.empty()) error("name expected");
  return std::string(bare);
}

std::string_view TextCursor::balanced() {
  int depth = 0;
  return take_while([&](char c) {
    const bool opens = c == '(' || c == '{' || c == '[', closes = c == ')' || c == '}' || c == ']';
    if (depth == 0 && (c == ',' || closes)) return false;
    depth += opens ? 1 : (closes ? -1 : 0);
    return true;
  });
}

}  // namespace lathe
