#include "text/split_lexers.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "text/unicode.h"

namespace lathe::text {

const std::string_view kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string_view kCl100kPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string_view kO200kPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

constexpr std::string_view kBloomPattern = " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+";
constexpr char32_t kLongS = 0x17F;  // what (?i:s) matches besides s and S

// kind_of() of ASCII characters: most texts are made of them, so the lexers look here first.
constexpr std::array<CharacterKind, 128> kAsciiKinds = [] {
  std::array<CharacterKind, 128> kinds{};
  for (size_t c = 0; c < kinds.size(); ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    kinds[c] = letter                 ? CharacterKind::letter
               : c >= '0' && c <= '9' ? CharacterKind::number
               : space                ? CharacterKind::space
                                      : CharacterKind::other;
  }
  return kinds;
}();

// One character of a text, read once.
struct Character {
  char32_t code = 0;
  size_t end = 0;  // where the next one begins
  CharacterKind kind = CharacterKind::other;
};

Character character_at(std::string_view text, size_t at) {
  Character c;
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead < kAsciiKinds.size()) return {lead, at + 1, kAsciiKinds[lead]};
  c.end = at;
  c.code = next_code_point(text, c.end);
  c.kind = kind_of(c.code);
  return c;
}

size_t skip_kind(std::string_view text, size_t at, CharacterKind kind, size_t most = SIZE_MAX) {
  for (; at < text.size() && most > 0; --most) {
    const Character c = character_at(text, at);
    if (c.kind != kind) break;
    at = c.end;
  }
  return at;
}

bool is_newline(char32_t c) { return c == '\r' || c == '\n'; }

// Of the white space [at, end): \s+(?!\S)|\s+, that is all but the last character where more text follows.
size_t blank_end(std::string_view text, size_t at, size_t end) {
  if (end == text.size()) return end;
  size_t last = end - 1;
  while (last > at && (static_cast<unsigned char>(text[last]) & 0xC0u) == 0x80u) --last;
  return last > at ? last : end;
}

// Where the contraction ends that begins with the apostrophe at text[at], or `at` if there is none. Lower-case only, or
// of any case.
size_t contraction_end(std::string_view text, size_t at, bool any_case) {
  const auto letter_at = [&](size_t& i) -> char32_t {
    if (i >= text.size()) return 0;
    const char32_t c = next_code_point(text, i);
    if (any_case && c == kLongS) return 's';
    return any_case && c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
  };
  size_t end = at + 1;
  const char32_t first = letter_at(end);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return end;
  const size_t one = end;
  size_t two = one;
  const char32_t second = letter_at(two);
  const bool known = ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l');
  return known ? two : at;
}

// The text is nothing but tokens: token_end(at) is where the one that begins there ends.
template <class TokenEnd>
void cut_tokens(std::string_view text, Cutter::Pieces& pieces, const TokenEnd& token_end) {
  for (size_t at = 0, end = 0; at < text.size(); at = end) {
    end = token_end(at);
    pieces.add(at, end);
  }
}

class Gpt2Lexer final : public Cutter {
 public:
  void cut(std::string_view text, Pieces& pieces) const override {
    cut_tokens(text, pieces, [&](size_t at) { return token_end(text, at); });
  }

 private:
  static size_t token_end(std::string_view text, size_t at) {
    const Character c = character_at(text, at);
    if (c.code == '\'') {
      const size_t end = contraction_end(text, at, /*any_case=*/false);
      if (end > at) return end;
    }
    if (c.kind != CharacterKind::space) return skip_kind(text, c.end, c.kind);
    if (c.code == ' ' && c.end < text.size()) {
      const Character next = character_at(text, c.end);
      if (next.kind != CharacterKind::space) return skip_kind(text, next.end, next.kind);
    }
    return blank_end(text, at, skip_kind(text, c.end, CharacterKind::space));
  }
};

// \s*[\r\n]+|\s+(?!\S)|\s+ at white space.
size_t spaces_end(std::string_view text, size_t at) {
  const size_t end = skip_kind(text, at, CharacterKind::space);
  for (size_t last = end; last > at; --last)
    if (is_newline(static_cast<unsigned char>(text[last - 1]))) return last;
  return blank_end(text, at, end);
}

// kCl100kPattern and kQwen2Pattern, which differ in how many digits stay together.
class Cl100kLexer final : public Cutter {
 public:
  explicit Cl100kLexer(size_t most_digits) : most_digits_(most_digits) {}

  void cut(std::string_view text, Pieces& pieces) const override {
    cut_tokens(text, pieces, [&](size_t at) { return token_end(text, at); });
  }

 private:
  size_t token_end(std::string_view text, size_t at) const {
    const Character c = character_at(text, at);
    if (c.kind == CharacterKind::letter) return skip_kind(text, c.end, c.kind);
    if (c.kind == CharacterKind::number) return skip_kind(text, c.end, c.kind, most_digits_ - 1);
    if (c.code == '\'') {
      const size_t end = contraction_end(text, at, /*any_case=*/true);
      if (end > at) return end;
    }
    if (c.end < text.size()) {
      const Character next = character_at(text, c.end);
      if (next.kind == CharacterKind::letter && !is_newline(c.code)) return skip_kind(text, next.end, next.kind);
      if (next.kind == CharacterKind::other && c.code == ' ') return symbols_end(text, next.end);
    }
    if (c.kind == CharacterKind::other) return symbols_end(text, c.end);
    return spaces_end(text, at);
  }

  static size_t symbols_end(std::string_view text, size_t at) {
    at = skip_kind(text, at, CharacterKind::other);
    while (at < text.size() && is_newline(static_cast<unsigned char>(text[at]))) ++at;
    return at;
  }

  size_t most_digits_;
};

// kO200kPattern. A word is capitals, then small letters; what has no case may be either.
class O200kLexer final : public Cutter {
 public:
  void cut(std::string_view text, Pieces& pieces) const override {
    cut_tokens(text, pieces, [&](size_t at) { return token_end(text, at); });
  }

 private:
  static size_t token_end(std::string_view text, size_t at) {
    const Character c = character_at(text, at);
    if (c.kind == CharacterKind::number) return skip_kind(text, c.end, c.kind, 2);
    if (const size_t end = word_end(text, at, c); end > at) {
      return end < text.size() && text[end] == '\'' ? contraction_end(text, end, /*any_case=*/true) : end;
    }
    if (c.kind == CharacterKind::other) return symbols_end(text, c.end);
    if (c.code == ' ' && c.end < text.size()) {
      const Character next = character_at(text, c.end);
      if (next.kind == CharacterKind::other) return symbols_end(text, next.end);
    }
    return spaces_end(text, at);
  }

  // The end of the word that begins with `c`, or behind it, or `at`. Words with a small end come first, whether or not
  // `c` is one of them; then those that are all capitals.
  static size_t word_end(std::string_view text, size_t at, const Character& c) {
    const bool leads = c.kind != CharacterKind::letter && !is_newline(c.code) && c.end < text.size();
    if (leads)
      if (const size_t end = small_ending(text, c.end); end > c.end) return end;
    if (casing_of(c.code) != Casing::none)
      if (const size_t end = small_ending(text, at); end > at) return end;
    if (leads)
      if (const size_t end = capitals_end(text, c.end); end > c.end) return end;
    return capitals_end(text, at);
  }

  // Of capitals and what may be one, then as many small letters as there are, one at least; else `at`. Without a small
  // letter, the last character that may be one is the end.
  static size_t small_ending(std::string_view text, size_t at) {
    size_t end = at;
    for (size_t next = at; next < text.size();) {
      const Casing casing = casing_of(next_code_point(text, next));
      if (casing == Casing::none) break;
      if (casing != Casing::upper) end = next;
      if (casing != Casing::lower) continue;
      for (size_t after = next; after < text.size(); end = after) {
        const Casing more = casing_of(next_code_point(text, after));
        if (more == Casing::none || more == Casing::upper) break;
      }
      break;
    }
    return end;
  }

  static size_t capitals_end(std::string_view text, size_t at) {
    size_t end = at;
    for (size_t next = at; next < text.size(); end = next) {
      const Casing casing = casing_of(next_code_point(text, next));
      if (casing == Casing::none || casing == Casing::lower) break;
    }
    return end;
  }

  static size_t symbols_end(std::string_view text, size_t at) {
    at = skip_kind(text, at, CharacterKind::other);
    while (at < text.size() && (is_newline(static_cast<unsigned char>(text[at])) || text[at] == '/')) ++at;
    return at;
  }
};

// Words between white space and some punctuation, with the blank before them; the rest in stretches.
class BloomLexer final : public Cutter {
 public:
  void cut(std::string_view text, Pieces& pieces) const override {
    size_t rest = 0;  // where the stretch began that no word has taken
    for (size_t at = 0; at < text.size();) {
      size_t begin = at, next = at;
      char32_t c = next_code_point(text, next);
      if (c == ' ' && next < text.size()) {
        at = next;
        c = next_code_point(text, next);
      }
      if (is_delimiter(c)) {
        // A blank before a delimiter may still belong to a word: the delimiter itself may be a blank.
        at = begin == at ? next : at;
        continue;
      }
      while (next < text.size()) {
        size_t after = next;
        if (is_delimiter(next_code_point(text, after))) break;
        next = after;
      }
      pieces.add(rest, begin);
      pieces.add(begin, next);
      rest = at = next;
    }
    pieces.add(rest, text.size());
  }

 private:
  static bool is_delimiter(char32_t c) {
    static constexpr std::array<char32_t, 14> kDelimiters = {'(',    ')',    '|',    '.',    ',',   '!',   '?',
                                                             0x2026, 0x3002, 0xFF0C, 0x3001, 0x964, 0x6D4, 0x60C};
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return false;
    return is_white_space(c) || std::find(kDelimiters.begin(), kDelimiters.end(), c) != kDelimiters.end();
  }
};

}  // namespace

std::unique_ptr<PreTokenizer> split_lexer(std::string_view pattern) {
  if (pattern == kGpt2Pattern) return std::make_unique<Gpt2Lexer>();
  if (pattern == kQwen2Pattern) return std::make_unique<Cl100kLexer>(1);
  if (pattern == kCl100kPattern) return std::make_unique<Cl100kLexer>(3);
  if (pattern == kO200kPattern) return std::make_unique<O200kLexer>();
  if (pattern == kBloomPattern) return std::make_unique<BloomLexer>();
  return nullptr;
}

bool matches_everything(std::string_view pattern) {
  return pattern == kGpt2Pattern || pattern == kQwen2Pattern || pattern == kCl100kPattern || pattern == kO200kPattern;
}

}  // namespace lathe::text
