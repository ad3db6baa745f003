#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace lathe {
namespace {

std::u32string decode(std::string_view text) {
  std::u32string out;
  for (size_t i = 0; i < text.size();) out.push_back(next_code_point(text, i));
  return out;
}

TEST(Utf8, EveryCodePointSurvivesTheRoundTrip) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, c);
    size_t position = 0;
    ASSERT_EQ(next_code_point(text, position), c);
    ASSERT_EQ(position, text.size());
  }
}

TEST(Utf8, EncodesAsTheStandardSays) {
  std::string text;
  for (const char32_t c : {U'a', U'é', U'你', U'😀'}) append_utf8(text, c);
  EXPECT_EQ(text, "a\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80");
}

TEST(Utf8, MalformedBytesAreOneReplacementEach) {
  EXPECT_EQ(decode("\x80"), U"\uFFFD");
  EXPECT_EQ(decode("a\xFFz"), U"a\uFFFDz");
  EXPECT_EQ(decode("\xC0\x80"), U"\uFFFD\uFFFD");                      // overlong zero
  EXPECT_EQ(decode("\xE0\x80\xAF"), U"\uFFFD\uFFFD\uFFFD");            // overlong slash
  EXPECT_EQ(decode("\xED\xA0\x80"), U"\uFFFD\uFFFD\uFFFD");            // surrogate
  EXPECT_EQ(decode("\xF4\x90\x80\x80"), U"\uFFFD\uFFFD\uFFFD\uFFFD");  // beyond U+10FFFF
  EXPECT_EQ(decode("\xE4\xBD"), U"\uFFFD\uFFFD");                      // cut off
  EXPECT_EQ(decode("\xE4\xBDz"), U"\uFFFD\uFFFDz");
}

TEST(Utf8, ImpossibleCodePointsAreReplaced) {
  for (const char32_t c : {char32_t{0xD800}, char32_t{0xDFFF}, char32_t{0x110000}, char32_t{0xFFFFFFFF}}) {
    std::string text;
    append_utf8(text, c);
    EXPECT_EQ(text, "\xEF\xBF\xBD");
  }
}

TEST(Utf8, KnowsWhatIsWellFormed) {
  const std::string ascii(20, 'a');
  for (const std::string& text : {std::string(), ascii, ascii + "é你😀\uFFFD", std::string("\0a", 2)})
    EXPECT_TRUE(is_valid_utf8(text)) << text;
  for (const std::string& bad :
       {std::string("\xFF"), std::string("\xC3"), std::string("\xED\xA0\x80"), std::string("\xC0\x80")}) {
    EXPECT_FALSE(is_valid_utf8(bad));
    EXPECT_FALSE(is_valid_utf8(ascii + bad + ascii));
  }
}

TEST(Utf8, CountsAndRepairs) {
  EXPECT_EQ(count_code_points(""), 0u);
  EXPECT_EQ(count_code_points("a你\xFF"), 3u);
  EXPECT_EQ(to_valid_utf8("a你\xFF"), "a你\xEF\xBF\xBD");
  EXPECT_EQ(to_valid_utf8(""), "");
}

}  // namespace
}  // namespace lathe
