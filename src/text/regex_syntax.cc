// The translation of Oniguruma's syntax (regex.h). A character class becomes a PCRE2 class where one suffices, else an
// alternation of classes and look-aheads.
#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "base/error.h"
#include "text/regex.h"
#include "text/unicode_scripts.h"

namespace lathe::text {
namespace {

constexpr std::string_view kAny = R"([\x{0}-\x{10FFFF}])";
constexpr std::string_view kSpace =
    R"(\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr std::string_view kNoSpace =
    R"(\x{0}-\x{8}\x{E}-\x{1F}\x{21}-\x{84}\x{86}-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF}\x{200B}-\x{2027})"
    R"(\x{202A}-\x{202E}\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{10FFFF})";
constexpr std::string_view kWord =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";
// What Oniguruma's \w means outside a class, and \b: also the digits and fractions of Latin-1.
constexpr std::string_view kMoreWord = R"(\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";
constexpr std::string_view kHex = "0-9A-Fa-f";

using NamePair = std::pair<std::string_view, std::string_view>;
// Names of properties that PCRE2 lacks; lower case, without spaces, hyphens and underscores.
constexpr std::array kPropertyNames = {NamePair{"letter", "L"},
                                       NamePair{"lowercaseletter", "Ll"},
                                       NamePair{"uppercaseletter", "Lu"},
                                       NamePair{"titlecaseletter", "Lt"},
                                       NamePair{"modifierletter", "Lm"},
                                       NamePair{"otherletter", "Lo"},
                                       NamePair{"mark", "M"},
                                       NamePair{"nonspacingmark", "Mn"},
                                       NamePair{"number", "N"},
                                       NamePair{"decimalnumber", "Nd"},
                                       NamePair{"letternumber", "Nl"},
                                       NamePair{"othernumber", "No"},
                                       NamePair{"punctuation", "P"},
                                       NamePair{"punct", "P"},
                                       NamePair{"symbol", "S"},
                                       NamePair{"separator", "Z"},
                                       NamePair{"spaceseparator", "Zs"},
                                       NamePair{"other", "C"},
                                       NamePair{"control", "Cc"},
                                       NamePair{"alpha", "Alphabetic"},
                                       NamePair{"digit", "Nd"},
                                       NamePair{"space", "White_Space"},
                                       NamePair{"upper", "Uppercase"},
                                       NamePair{"lower", "Lowercase"}};

constexpr std::array kPosixClasses = {NamePair{"alpha", R"(\p{Alphabetic})"},
                                      NamePair{"alnum", R"(\p{Alphabetic}\p{Nd})"},
                                      NamePair{"upper", R"(\p{Uppercase})"},
                                      NamePair{"lower", R"(\p{Lowercase})"},
                                      NamePair{"digit", R"(\p{Nd})"},
                                      NamePair{"xdigit", kHex},
                                      NamePair{"space", kSpace},
                                      NamePair{"blank", R"(\x{9}\p{Zs})"},
                                      NamePair{"punct", R"(\p{P})"},
                                      NamePair{"cntrl", R"(\p{Cc})"},
                                      NamePair{"word", kWord}};

// A set of characters: those of a class, or of any of several classes.
struct Set {
  std::string items;                      // between the brackets of a class
  std::vector<std::string> alternatives;  // whole expressions for one character
  bool negated = false;

  // An expression for exactly one character of the set.
  std::string expression() const {
    if (alternatives.empty()) {
      if (items.empty()) return negated ? std::string(kAny) : "(?!)";
      return (negated ? "[^" : "[") + items + "]";
    }
    std::string all;
    if (!items.empty()) all = "[" + items + "]";
    for (const std::string& alternative : alternatives) all += (all.empty() ? "" : "|") + alternative;
    return negated ? "(?:(?!" + all + ")" + std::string(kAny) + ")" : "(?:" + all + ")";
  }
};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  std::string run() {
    while (at_ < pattern_.size()) step();
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail(ErrorCode::unsupported, "the regular expression '{}' cannot be used: {}", pattern_, what);
  }
  bool next_is(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  char take() {
    if (at_ == pattern_.size()) refuse("it ends too early");
    return pattern_[at_++];
  }

  void atom(std::string_view text) {
    atom_ = out_.size();
    out_ += text;
  }

  void step() {
    const char c = pattern_[at_];
    if (c == '\\') {
      ++at_;
      escape();
    } else if (c == '[') {
      ++at_;
      atom(character_class().expression());
    } else if (c == '(') {
      open_group();
    } else if (c == ')') {
      ++at_;
      out_ += ')';
      if (groups_.empty()) refuse("a ')' without its '('");
      atom_ = groups_.back();
      groups_.pop_back();
    } else if (c == '{') {
      interval();
    } else {
      ++at_;
      const bool begins = std::string_view("*+?|^$").find(c) == std::string_view::npos &&
                          (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
      if (begins) atom_ = out_.size();
      out_ += c;
    }
  }

  // Options after "(?": Oniguruma's m is PCRE2's s; ^ and $ always mean lines.
  void open_group() {
    ++at_;
    groups_.push_back(out_.size());
    out_ += '(';
    if (!next_is("?")) return;
    out_ += take();
    while (at_ < pattern_.size() && (std::isalpha(static_cast<unsigned char>(pattern_[at_])) || pattern_[at_] == '-')) {
      const char option = take();
      if (option != 'm' && option != 'i' && option != 'x' && option != '-')
        refuse(fmt::format("the option '{}' is unknown", option));
      out_ += option == 'm' ? 's' : option;
    }
  }

  // "{n,m}+" repeats the repetition; only after a single-character quantifier does "+" mean possessive.
  void interval() {
    const size_t end = pattern_.find('}', at_);
    const std::string_view body = end == std::string_view::npos ? "" : pattern_.substr(at_ + 1, end - at_ - 1);
    const bool proper = !body.empty() && std::all_of(body.begin(), body.end(), [](char c) {
      return std::isdigit(static_cast<unsigned char>(c)) || c == ',';
    }) && body != ",";
    if (!proper) {
      ++at_;
      atom("\\{");
      return;
    }
    at_ = end + 1;
    out_ += body.front() == ',' ? fmt::format("{{0{}}}", body) : fmt::format("{{{}}}", body);
    if (next_is("+")) {
      out_.insert(atom_, "(?:");
      out_ += ')';
    }
  }

  // Behind a backslash, outside a class.
  void escape() {
    const char c = take();
    switch (c) {
      case 'b': return atom(fmt::format("(?:(?<=[{0}{1}])(?![{0}{1}])|(?<![{0}{1}])(?=[{0}{1}]))", kWord, kMoreWord));
      case 'B': return atom(fmt::format("(?:(?<=[{0}{1}])(?=[{0}{1}])|(?<![{0}{1}])(?![{0}{1}]))", kWord, kMoreWord));
      case 'w': return atom(fmt::format("[{}{}]", kWord, kMoreWord));
      case 'W': return atom(fmt::format("[^{}{}]", kWord, kMoreWord));
      case 'A':
      case 'z':
      case 'Z':
      case 'G':
      case 'K':
      case 'R':
      case 'X': return atom(std::string{'\\', c});
      default: break;
    }
    if (c >= '1' && c <= '9') return atom(std::string{'\\', c});
    --at_;
    Set set;
    class_escape(set);
    // A lone character needs no class around it.
    atom(set.alternatives.empty() && is_single(set.items) ? set.items : set.expression());
  }

  static bool is_single(std::string_view items) {
    return items.size() >= 2 && items[0] == '\\' && items.find('\\', 1) == std::string_view::npos &&
           items.find('-') == std::string_view::npos;
  }

  // Behind a backslash: adds what the escape means to a class.
  void class_escape(Set& set) {
    const char c = take();
    switch (c) {
      case 's': set.items += kSpace; return;
      case 'S': set.items += kNoSpace; return;
      case 'w': set.items += kWord; return;
      case 'W': set.alternatives.push_back(fmt::format("[^{}]", kWord)); return;
      case 'h': set.items += kHex; return;
      case 'H': set.alternatives.push_back(fmt::format("[^{}]", kHex)); return;
      case 'd': set.items += "\\p{Nd}"; return;
      case 'D': set.items += "\\P{Nd}"; return;
      case 'v': set.items += "\\x{B}"; return;
      case 'p':
      case 'P': set.items += property(c); return;
      case 'u': set.items += code_point(4); return;
      case 'x': set.items += next_is("{") ? code_point(0) : code_point(2); return;
      default: break;
    }
    if (std::isalpha(static_cast<unsigned char>(c)) && std::string_view("ntrfae").find(c) == std::string_view::npos)
      refuse(fmt::format("the escape '\\{}' is unknown", c));
    set.items += '\\';
    set.items += c;
  }

  // Exactly `digits` hexadecimal ones, or, for 0, those between braces.
  std::string code_point(size_t digits) {
    std::string value;
    if (digits == 0) take();
    while (digits == 0 ? !next_is("}") : value.size() < digits) {
      const char c = take();
      if (!std::isxdigit(static_cast<unsigned char>(c))) refuse("a character's number is malformed");
      value += c;
    }
    if (digits == 0) take();
    return "\\x{" + value + "}";
  }

  std::string property(char kind) {
    if (!next_is("{")) refuse("a property without braces");
    const size_t end = pattern_.find('}', at_);
    if (end == std::string_view::npos) refuse("a property's name does not end");
    std::string_view name = pattern_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    const std::string plain = comparable_name(name);
    const auto* found = std::find_if(kPropertyNames.begin(), kPropertyNames.end(),
                                     [&](const NamePair& pair) { return pair.first == plain; });
    // PCRE2 takes the bare name of a script for the property Script_Extensions.
    const bool script = found == kPropertyNames.end() && (is_script_name(name) || plain == "unknown");
    return fmt::format("\\{}{{{}{}{}}}", kind, negated ? "^" : "", script ? "sc:" : "",
                       found == kPropertyNames.end() ? name : found->second);
  }

  // Behind "[".
  Set character_class() {
    if (++depth_ > kMaxDepth) refuse("its character classes are nested too deeply");
    Set set;
    const bool negated = next_is("^");
    if (negated) ++at_;
    bool first = true;
    std::vector<std::string> others;  // sets that this one is intersected with
    while (first || !next_is("]")) {
      first = false;
      if (next_is("&&")) {
        at_ += 2;
        others.push_back(std::exchange(set, Set()).expression());
      } else {
        class_item(set);
      }
    }
    ++at_;
    --depth_;
    if (!others.empty()) {
      std::string all;
      for (const std::string& other : others) all += "(?=" + other + ")";
      set = Set{"", {"(?:" + all + set.expression() + ")"}, false};
    }
    set.negated = negated;
    return set;
  }

  // "[:name:]" or "[:^name:]"; false if that is not what stands there.
  bool posix_class(Set& set) {
    const size_t end = next_is("[:") ? pattern_.find(":]", at_) : std::string_view::npos;
    if (end == std::string_view::npos) return false;
    std::string_view name = pattern_.substr(at_ + 2, end - at_ - 2);
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    const auto* found = std::find_if(kPosixClasses.begin(), kPosixClasses.end(),
                                     [&](const NamePair& pair) { return pair.first == name; });
    if (found == kPosixClasses.end()) refuse(fmt::format("the class '[:{}:]' is unknown", name));
    at_ = end + 2;
    if (negated)
      set.alternatives.push_back(fmt::format("[^{}]", found->second));
    else
      set.items += found->second;
    return true;
  }

  void class_item(Set& set) {
    if (posix_class(set)) return;
    const char c = take();
    if (c == '\\') {
      class_escape(set);
    } else if (c == '[') {
      const Set nested = character_class();
      if (nested.negated || !nested.alternatives.empty())
        set.alternatives.push_back(nested.expression());
      else
        set.items += nested.items;
    } else {
      // A bracket that opens nothing, and what a class of PCRE2 would take for something else.
      if (c == ']' || (c == '^' && set.items.empty())) set.items += '\\';
      set.items += c;
    }
  }

  static constexpr int kMaxDepth = 100;

  std::string_view pattern_;
  size_t at_ = 0;
  int depth_ = 0;
  std::string out_;
  size_t atom_ = 0;             // where the last atom begins in out_
  std::vector<size_t> groups_;  // where the open groups begin in out_
};

}  // namespace

std::string to_pcre2(std::string_view oniguruma_pattern) { return Translator(oniguruma_pattern).run(); }

}  // namespace lathe::text
