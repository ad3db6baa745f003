#include "text/chat_template/lexer.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

#include "base/ascii.h"
#include "base/error.h"
#include "base/utf8.h"
#include "text/chat_template/python_string.h"

namespace lathe::text {
namespace {

std::string normalize_line_ends(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    const bool pair = source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n';
    if (!pair) out += source[i] == '\r' ? '\n' : source[i];
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }
bool begins_name(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || (c & 0x80) != 0; }
bool continues_name(char c) { return begins_name(c) || is_ascii_digit(c); }

size_t without_trailing_space(std::string_view text) {
  const MarkedText all{std::string(text)};
  return strip(all, std::nullopt, Side::right).size();
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) read_data();
    emit(TokenKind::end, "");
    return std::move(tokens_);
  }

 private:
  void emit(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  [[noreturn]] void error(std::string_view what) const { syntax_error(line_, what); }

  bool looking_at(std::string_view text) const { return std::string_view(source_).substr(at_, text.size()) == text; }

  void advance_to(size_t position) {
    line_ += static_cast<size_t>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                            source_.begin() + static_cast<ptrdiff_t>(position), '\n'));
    at_ = position;
  }

  void skip_space() {
    size_t position = at_;
    while (position < source_.size()) {
      size_t next = position;
      if (!is_python_space(next_code_point(source_, next))) break;
      position = next;
    }
    advance_to(position);
  }

  // The next "{{", "{%" or "{#" from `from` on; the size of the source when there is none.
  size_t find_tag(size_t from) const {
    for (size_t i = source_.find('{', from); i != std::string::npos; i = source_.find('{', i + 1))
      if (i + 1 < source_.size() && std::string_view("{%#").find(source_[i + 1]) != std::string_view::npos) return i;
    return source_.size();
  }

  // Emits the text before a tag at `tag`, as the sign behind the tag's opening says.
  void emit_data(size_t tag, char sign, bool strips_indentation) {
    std::string_view text = std::string_view(source_).substr(at_, tag - at_);
    if (sign == '-') {
      text = text.substr(0, without_trailing_space(text));
    } else if (sign != '+' && strips_indentation) {
      const size_t line_begin = text.rfind('\n') + 1;  // 0 when there is none
      const bool at_line_begin = line_begin > 0 || at_ == 0 || source_[at_ - 1] == '\n';
      if (at_line_begin && without_trailing_space(text.substr(line_begin)) == 0) text = text.substr(0, line_begin);
    }
    if (!text.empty()) emit(TokenKind::data, std::string(text));
    advance_to(tag);
  }

  char sign_at(size_t position) const {
    return position < source_.size() && (source_[position] == '-' || source_[position] == '+') ? source_[position] : 0;
  }

  void read_data() {
    const size_t tag = find_tag(at_);
    if (tag == source_.size()) {
      emit(TokenKind::data, source_.substr(at_));
      return advance_to(tag);
    }
    const char type = source_[tag + 1], sign = sign_at(tag + 2);
    emit_data(tag, sign, type != '{');
    advance_to(tag + 2 + (sign != 0));
    if (type == '#')
      skip_comment();
    else if (type == '%' && begin_raw())
      read_raw();
    else
      read_tag(type == '{');
  }

  // Steps over the end of a tag whose closing delimiter stands at `close`, and over the white space that goes with it.
  void close_tag(size_t close, char sign, bool trims_line_end) {
    advance_to(close + 2);
    if (sign == '-')
      skip_space();
    else if (sign != '+' && trims_line_end && looking_at("\n"))
      advance_to(at_ + 1);
  }

  void skip_comment() {
    const size_t close = source_.find("#}", at_);
    if (close == std::string::npos) error("a comment is not closed");
    close_tag(close, close > at_ ? sign_at(close - 1) : 0, true);
  }

  // Whether `word` and the end of the tag follow, whatever the white space. Moves behind it if so; `sign` is that of
  // the end.
  std::optional<char> match_whole_tag(std::string_view word) {
    const size_t begin = at_, begin_line = line_;
    skip_space();
    if (looking_at(word)) {
      advance_to(at_ + word.size());
      skip_space();
      const char sign = sign_at(at_);
      if (sign != 0) advance_to(at_ + 1);
      if (looking_at("%}")) return sign;
    }
    at_ = begin;
    line_ = begin_line;
    return std::nullopt;
  }

  bool begin_raw() {
    const auto sign = match_whole_tag("raw");
    if (sign) close_tag(at_, *sign, false);
    return sign.has_value();
  }

  void read_raw() {
    for (size_t tag = source_.find("{%", at_); tag != std::string::npos; tag = source_.find("{%", tag + 2)) {
      const size_t begin = at_, begin_line = line_;
      const char open_sign = sign_at(tag + 2);
      at_ = tag + 2 + (open_sign != 0);  // for a look only: lines are counted below
      const auto sign = match_whole_tag("endraw");
      const size_t close = at_;
      at_ = begin;
      line_ = begin_line;
      if (!sign) continue;
      emit_data(tag, open_sign, true);
      return close_tag(close, *sign, true);
    }
    error("a raw block is not closed");
  }

  void read_tag(bool print) {
    emit(print ? TokenKind::print_begin : TokenKind::block_begin, "");
    const std::string_view close = print ? "}}" : "%}";
    std::string brackets;  // those open
    for (;;) {
      skip_space();
      if (at_ == source_.size()) error("a tag is not closed");
      const char sign = print && looking_at("+") ? 0 : sign_at(at_);
      if (brackets.empty() && source_.compare(at_ + (sign != 0), 2, close) == 0) {
        emit(print ? TokenKind::print_end : TokenKind::block_end, "");
        return close_tag(at_ + (sign != 0), sign, !print);
      }
      read_token(brackets);
    }
  }

  void read_token(std::string& brackets) {
    const char c = source_[at_];
    if (begins_name(c)) {
      size_t end = at_;
      while (end < source_.size() && continues_name(source_[end])) ++end;
      emit(TokenKind::name, source_.substr(at_, end - at_));
      return advance_to(end);
    }
    if (is_ascii_digit(c)) return read_number();
    if (c == '\'' || c == '"') return read_string(c);
    read_symbol(brackets);
  }

  // The end of a run of digits from `from` on; underscores may stand between them.
  size_t digits_end(size_t from) const {
    size_t end = from;
    while (end < source_.size() &&
           (is_ascii_digit(source_[end]) || (source_[end] == '_' && end > from && is_ascii_digit(source_[end - 1]))))
      ++end;
    return end;
  }

  void read_number() {
    size_t end = digits_end(at_);
    TokenKind kind = TokenKind::integer;
    const bool behind_dot = at_ > 0 && source_[at_ - 1] == '.';  // `list.0.1` is two subscripts
    if (!behind_dot && end < source_.size() && source_[end] == '.' && digits_end(end + 1) > end + 1) {
      end = digits_end(end + 1);
      kind = TokenKind::floating;
    }
    if (!behind_dot && end < source_.size() && (source_[end] | 0x20) == 'e') {
      const size_t digits = end + 1 + (sign_at(end + 1) != 0);
      if (digits_end(digits) > digits) {
        end = digits_end(digits);
        kind = TokenKind::floating;
      }
    }
    std::string text = source_.substr(at_, end - at_);
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    emit(kind, std::move(text));
    advance_to(end);
  }

  void read_string(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) error("a string is not closed");
    emit(TokenKind::string, unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    advance_to(end + 1);
  }

  // Python's escapes; a backslash before any other character stays.
  std::string unescape(std::string_view text) const {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        out += text[i];
        continue;
      }
      static constexpr std::string_view kNames = "abfnrtv\\'\"", kValues = "\a\b\f\n\r\t\v\\'\"";
      const char c = text[++i];
      if (const size_t simple = kNames.find(c); simple != std::string_view::npos)
        out += kValues[simple];
      else if (c >= '0' && c <= '7')
        append_numeric(out, text, i, 8, std::min<size_t>(3, text.find_first_not_of("01234567", i) - i));
      else if (c == 'x' || c == 'u' || c == 'U')
        append_numeric(out, text, ++i, 16, c == 'x' ? 2 : (c == 'u' ? 4 : 8));
      else if (c != '\n')
        (out += '\\') += c;
    }
    return out;
  }

  // Appends the code point that `count` digits from text[i] on spell; leaves `i` at the last of them.
  void append_numeric(std::string& out, std::string_view text, size_t& i, uint32_t base, size_t count) const {
    uint32_t value = 0;
    if (base == 8) count = std::min(count, text.size() - i);
    for (size_t k = 0; k < count; ++k) {
      const char c = i + k < text.size() ? ascii_lower(text[i + k]) : '\0';
      const size_t digit = std::string_view("0123456789abcdef").substr(0, base).find(c);
      if (digit == std::string_view::npos) error("a string holds a malformed escape");
      value = value * base + static_cast<uint32_t>(digit);
    }
    append_utf8(out, value);
    i += count - 1;
  }

  void read_symbol(std::string& brackets) {
    static constexpr std::array<std::string_view, 26> kSymbols = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                                  "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                                  ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    const auto found = std::find_if(kSymbols.begin(), kSymbols.end(), [&](auto symbol) { return looking_at(symbol); });
    if (found == kSymbols.end()) error(fmt::format("unexpected character '{}'", source_[at_]));
    const char c = found->front();
    if (c == '(' || c == '[' || c == '{') brackets += c == '(' ? ')' : (c == '[' ? ']' : '}');
    if (c == ')' || c == ']' || c == '}') {
      if (brackets.empty() || brackets.back() != c) error(fmt::format("unexpected '{}'", c));
      brackets.pop_back();
    }
    emit(TokenKind::symbol, std::string(*found));
    advance_to(at_ + found->size());
  }

  std::string source_;
  size_t at_ = 0, line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(normalize_line_ends(to_valid_utf8(source))).run(); }

void syntax_error(size_t line, std::string_view what) { fail(ErrorCode::invalid_model, "line {}: {}", line, what); }

}  // namespace lathe::text
