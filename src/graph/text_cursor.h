// Reads the lexemes of the text form and knows the line and column of what is wrong.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace lathe {

class TextCursor {
 public:
  explicit TextCursor(std::string_view text) : text_(text) {}

  // Throws Error(invalid_argument) that names the line and column of `position`, or of the next lexeme.
  [[noreturn]] void error(std::string_view why) const { error_at(pos_, why); }
  [[noreturn]] void error_at(size_t position, std::string_view why) const;
  // Runs `body`; an Error that it throws becomes one at `position`.
  void located(size_t position, const std::function<void()>& body) const;

  size_t position();  // of the next lexeme
  bool at_end();
  size_t remaining() const { return text_.size() - pos_; }
  bool starts_with(char c);
  void skip_one() { ++pos_; }
  bool accept(std::string_view token);  // as it stands; a word must not go on after it
  void expect(std::string_view token);

  std::string_view word();    // letters, digits and _; may be empty
  std::string_view number();  // what a number or true, false, nan, inf may consist of; may be empty
  std::string quoted_string();
  std::string name();  // bare or quoted

  // Everything up to a ',' or a closing bracket that is not nested in brackets of its own.
  std::string_view balanced();

 private:
  void skip_space();
  template <class Predicate>
  std::string_view take_while(Predicate&& predicate);
  char escape();

  std::string_view text_;
  size_t pos_ = 0;
};

}  // namespace lathe
