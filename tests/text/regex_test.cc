// What each difference between Oniguruma's syntax and PCRE2's comes out as; the matches are Oniguruma's.
#include "text/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"

namespace lathe::text {
namespace {

using ::testing::HasSubstr;
using Strings = std::vector<std::string>;

struct RegexCase {
  const char* pattern;
  const char* text;
  Strings matches;
};

class RegexMatches : public testing::TestWithParam<RegexCase> {};
INSTANTIATE_TEST_SUITE_P(
    Patterns, RegexMatches,
    testing::Values(
        RegexCase{"a+", "baac", {"aa"}}, RegexCase{"x*", "ax", {"", "x"}},
        RegexCase{R"(\s+)", "a\u00A0\u3000b\u180Ec", {"\u00A0\u3000"}}, RegexCase{R"([^\s])", "\u200B \n", {"\u200B"}},
        RegexCase{R"([\S]+)", "a\u180E b", {"a\u180E", "b"}}, RegexCase{R"(\w+)", "a\u0301_½-½", {"a\u0301_½", "½"}},
        RegexCase{R"([\w]+)", "a½b", {"a", "b"}}, RegexCase{R"(\W)", "a½-", {"-"}}, RegexCase{R"([\W])", "a½", {"½"}},
        RegexCase{R"(\bx)", "½x -x", {"x"}}, RegexCase{R"(\h+)", "xfF0 \t", {"fF0"}},
        RegexCase{R"(\H)", "f g", {" ", "g"}}, RegexCase{"(?m:a.b)", "a\nb", {"a\nb"}}, RegexCase{"a.b", "a\nb", {}},
        RegexCase{"^b$", "a\nb\nc", {"b"}}, RegexCase{"[^(\\s|[.,])]+", "a|b.c d", {"a", "b", "c", "d"}},
        RegexCase{"[a-z&&[^aeiou]]+", "hello", {"h", "ll"}}, RegexCase{"[^a&&b]", "ab", {"a", "b"}},
        RegexCase{"[a[^b]]", "abc", {"a", "c"}}, RegexCase{"[^a[^ab]]", "abc", {"b"}},
        RegexCase{"a{2}+", "aaaaa", {"aaaa"}}, RegexCase{"a{,2}b", "aaab", {"aab"}},
        RegexCase{"(?:ab){1,2}+", "ababab", {"ababab"}}, RegexCase{"a{x}", "a{x}", {"a{x}"}},
        RegexCase{"a++a", "aaa", {}}, RegexCase{R"(\p{Alpha}\p{^L}\P{L})", "a1-", {"a1-"}},
        RegexCase{R"(\p{Lowercase_Letter})", "aB", {"a"}}, RegexCase{"[[:alpha:]]+", "aé\u0345ª1", {"aé\u0345ª"}},
        RegexCase{"[[:^space:]x]", " y", {"y"}}, RegexCase{R"(\u00e9\x{4f60}\x41)", "é你A", {"é你A"}},
        RegexCase{R"([\]\-^]+)", "]-^", {"]-^"}}, RegexCase{"[]a]", "]", {"]"}}, RegexCase{R"(\v)", "\n\v", {"\v"}},
        RegexCase{"(?i:'s)", "'S'ſ", {"'S", "'ſ"}}, RegexCase{R"(\s+(?!\S))", "a  b ", {" ", " "}},
        RegexCase{R"((?<=a)b|(?>c+)c)", "abcc", {"b"}}, RegexCase{R"((a)\1)", "aa", {"aa"}},
        RegexCase{R"(\p{Hiragana}+)", "か、な", {"か", "な"}}, RegexCase{R"(\P{Greek})", "αa", {"a"}}));

TEST_P(RegexMatches, AsOniguruma) {
  const std::string text = GetParam().text;
  Strings matches;
  for (const Span& span : Regex(GetParam().pattern).find_all(text))
    matches.push_back(text.substr(span.begin, span.end - span.begin));
  EXPECT_EQ(matches, GetParam().matches) << GetParam().pattern << " became " << to_pcre2(GetParam().pattern);
}

TEST(Regex, WhatCannotBeUsedIsNamed) {
  for (const char* pattern : {"(", ")", "[a", "\\", "\\p{Klingon}", "\\p", "\\q", "(?y)", "\\x{zz}", "[[:foo:]]"}) {
    try {
      Regex regex(pattern);
      ADD_FAILURE() << pattern;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
      EXPECT_THAT(error.what(), HasSubstr(pattern));
    }
  }
}

TEST(Regex, ATextThatTakesTooLongIsAnError) {
  const Regex regex("(a+a+)+[bc]");
  EXPECT_THROW(regex.find_all(std::string(200, 'a')), Error);
}

TEST(Regex, LongMatchesFit) {
  const std::string text(1 << 20, 'a');
  EXPECT_EQ(Regex("(?:a|b)+").find_all(text), (std::vector<Span>{{0, text.size()}}));
}

}  // namespace
}  // namespace lathe::text
