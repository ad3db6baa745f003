// Words of PTX: names with their dots and signs, numbers, strings, and single characters of punctuation. Every word is
// a view of the text, so that where one stands is known.
#pragma once

#include <charconv>
#include <string>
#include <string_view>

#include "tests/backends/cuda/emulator/program.h"

namespace lathe::emulator {

// Decimal, or 0x and hexadecimal; U may follow.
inline int64_t to_integer(std::string_view word) {
  uint64_t value = 0;
  const bool hexadecimal = word.starts_with("0x") || word.starts_with("0X");
  std::string_view digits = word.substr(hexadecimal ? 2 : 0);
  if (digits.ends_with('U')) digits.remove_suffix(1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, hexadecimal ? 16 : 10);
  if (error != std::errc() || end != digits.data() + digits.size())
    throw PtxError("'" + std::string(word) + "' is neither declared nor a number");
  return static_cast<int64_t>(value);
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) { skip_space(); }

  bool done() const { return at_ >= text_.size(); }
  size_t position() const { return at_; }
  void seek(size_t position) { at_ = position; }

  std::string_view peek() const { return text_.substr(at_, word_length()); }
  std::string_view take() {
    const std::string_view word = peek();
    if (word.empty()) throw PtxError("the text ends early");
    at_ += word.size();
    skip_space();
    return word;
  }
  bool accept(std::string_view word) { return peek() == word && !take().empty(); }
  void expect(std::string_view word) {
    if (const std::string_view found = take(); found != word)
      throw PtxError("'" + std::string(found) + "' where '" + std::string(word) + "' is expected, in " +
                     std::string(text_to("\n")));
  }
  int64_t take_integer() { return to_integer(take()); }

  void skip_line() {
    at_ = std::min(text_.find('\n', at_), text_.size());
    skip_space();
  }
  void skip_past(std::string_view word) {
    while (take() != word) {
    }
  }
  // From here up to `end`, which is not taken.
  std::string_view text_to(std::string_view end) const { return text_.substr(at_, text_.find(end, at_) - at_); }

 private:
  static bool in_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' ||
           c == '%' || c == '.';
  }
  size_t word_length() const {
    size_t end = at_;
    if (done()) return 0;
    if (text_[at_] == '"') return std::min(text_.find('"', at_ + 1), text_.size() - 1) + 1 - at_;
    while (end < text_.size() && (in_word(text_[end]) || text_.substr(end, 2) == "::"))
      end += text_[end] == ':' ? 2 : 1;
    return std::max<size_t>(end - at_, 1);
  }
  void skip_space() {
    for (; at_ < text_.size(); ++at_) {
      if (text_.substr(at_, 2) == "//")
        at_ = std::min(text_.find('\n', at_), text_.size() - 1);
      else if (text_[at_] != ' ' && text_[at_] != '\t' && text_[at_] != '\n' && text_[at_] != '\r' && text_[at_] != 0)
        return;
    }
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace lathe::emulator
