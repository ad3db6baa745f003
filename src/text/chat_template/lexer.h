// Template source to tokens, white-space control included: data tokens hold what is left of the text once "-" and "+"
// signs, trim_blocks (the line end behind a block or comment goes) and lstrip_blocks (so does the indentation before
// one) have had their say. Line ends are normalised to "\n", and one at the end of the source is dropped.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lathe::text {

enum class TokenKind {
  data,
  print_begin,  // {{
  print_end,
  block_begin,  // {%
  block_end,
  name,
  string,    // `text` is the unescaped value
  integer,   // `text` holds the digits, without underscores
  floating,  // likewise
  symbol,    // an operator or a bracket
  end
};

struct Token {
  TokenKind kind;
  std::string text;
  size_t line;

  bool is(TokenKind wanted, std::string_view wanted_text) const { return kind == wanted && text == wanted_text; }
};

// Throws Error(invalid_model) with the line. The last token is `end`.
std::vector<Token> tokenize(std::string_view source);

[[noreturn]] void syntax_error(size_t line, std::string_view what);

}  // namespace lathe::text
