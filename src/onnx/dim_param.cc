#include "onnx/dim_param.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/error.h"

namespace lathe::onnx {
namespace {

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)); }

using Meaning = std::function<std::optional<Dim>(std::string_view)>;
using Parsed = std::optional<Dim>;

// Recursive descent; nullopt anywhere ends everywhere.
// sum := product (('+' | '-') product)*, product := factor ('*' factor | '//' factor)*,
// factor := '-' factor | integer | name | '(' sum ')' | 'floor' '(' sum ['/' factor] ')' | ('min' | 'max') '(' sum ','
// sum ')'.
class Parser {
 public:
  Parser(std::string_view text, const Meaning& meaning) : text_(text), meaning_(meaning) {}

  Parsed parse() {
    Parsed d = sum(0);
    skip_space();
    return at_ == text_.size() ? d : std::nullopt;
  }

 private:
  static constexpr int kMaxDepth = 32;

  void skip_space() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool accept(std::string_view token) {
    skip_space();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }

  Parsed sum(int depth) {
    if (depth > kMaxDepth) return std::nullopt;
    Parsed left = product(depth);
    while (left) {
      const bool plus = accept("+");
      if (!plus && !accept("-")) break;
      const Parsed right = product(depth);
      if (!right) return std::nullopt;
      left = plus ? *left + *right : *left - *right;
    }
    return left;
  }

  Parsed product(int depth) {
    Parsed left = factor(depth);
    while (left) {
      const bool times = accept("*");
      if (!times && !accept("//")) break;
      const Parsed right = factor(depth);
      if (!right) return std::nullopt;
      left = times ? Parsed(*left * *right) : quotient(*left, *right);
    }
    return left;
  }

  static Parsed quotient(const Dim& a, const Dim& b) {
    return b.is_constant() && b.value() == 0 ? std::nullopt : Parsed(floor_div(a, b));
  }

  Parsed factor(int depth) {
    if (depth > kMaxDepth) return std::nullopt;
    if (accept("-")) {
      const Parsed d = factor(depth + 1);
      return d ? Parsed(-*d) : std::nullopt;
    }
    if (accept("(")) return closed(sum(depth + 1));
    const std::string_view word = next_word();
    if (word.empty()) return std::nullopt;
    if (is_digit(word[0])) return number(word);
    return accept("(") ? call(word, depth) : meaning_(word);
  }

  std::string_view next_word() {
    skip_space();
    const size_t begin = at_;
    while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]) || text_[at_] == '.')) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  static Parsed number(std::string_view word) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    return error == std::errc() && end == word.data() + word.size() ? Parsed(Dim(value)) : std::nullopt;
  }

  Parsed call(std::string_view name, int depth) {
    const Parsed a = sum(depth + 1);
    if (!a) return std::nullopt;
    if (name == "floor") {
      if (!accept("/")) return closed(a);
      const Parsed b = factor(depth + 1);
      return b ? closed(quotient(*a, *b)) : std::nullopt;
    }
    const bool least = name == "min" || name == "Min";
    if ((!least && name != "max" && name != "Max") || !accept(",")) return std::nullopt;
    const Parsed b = sum(depth + 1);
    if (!b) return std::nullopt;
    return closed(least ? min(*a, *b) : max(*a, *b));
  }

  Parsed closed(const Parsed& d) { return d && accept(")") ? d : std::nullopt; }

  std::string_view text_;
  const Meaning& meaning_;
  size_t at_ = 0;
};

}  // namespace

bool is_identifier(std::string_view text) {
  return !text.empty() && is_letter(text[0]) &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_letter(c) || is_digit(c) || c == '.'; });
}

std::optional<Dim> parse_dim_param(std::string_view text, const Meaning& meaning) {
  try {
    return Parser(text, meaning).parse();
  } catch (const Error&) {  // numbers that overflow
    return std::nullopt;
  }
}

}  // namespace lathe::onnx
