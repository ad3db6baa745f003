// The lexers against the regular expressions that they stand for.
#include "text/split_lexers.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "text/pre_tokenizers.h"

namespace lathe::text {
namespace {

constexpr std::string_view kBloom = " ?[^(\\s|[.,!?…。，、।۔،])]+";

std::string random_text(std::mt19937& random) {
  static const std::vector<std::string> kParts = {
      "a", "B",  "é",  "你", "1",      "²",  "٣",   "Ⅷ",   " ",     "  ",      "\n", "\r", "\t", "\u00A0", "\u3000",
      "'", "'s", "'T", "'ſ", "'l",     "ll", "'re", "'VE", "'m",    ".",       ",",  "!",  "。", "،",      "(",
      ")", "|",  "-",  "😀",  "\u0301", "_",  "'d",  "ABC", "12345", "...\n\n", "/",  "ǅ",  "ʰ",  "\u0903"};
  std::string text;
  for (size_t i = random() % 14; i-- > 0;) text += kParts[random() % kParts.size()];
  return text;
}

class SplitLexer : public testing::TestWithParam<std::string_view> {};
INSTANTIATE_TEST_SUITE_P(Patterns, SplitLexer,
                         testing::Values(kGpt2Pattern, kQwen2Pattern, kCl100kPattern, kO200kPattern, kBloom));

TEST_P(SplitLexer, CutsAsItsRegularExpression) {
  const auto lexer = split_lexer(GetParam());
  ASSERT_NE(lexer, nullptr);
  const Split reference(Pattern::regex(GetParam()), SplitBehavior::isolated, false);
  std::mt19937 random(11);
  for (int round = 0; round < 20'000; ++round) {
    Words words, expected;
    words.assign(random_text(random), true);
    expected.assign(words.text, true);
    lexer->split(words);
    reference.split(expected);
    ASSERT_EQ(words.spans, expected.spans) << '"' << words.text << '"';
  }
}

TEST(SplitLexer, OtherPatternsHaveNone) {
  EXPECT_EQ(split_lexer("a"), nullptr);
  EXPECT_FALSE(matches_everything(kBloom));
  EXPECT_TRUE(matches_everything(kCl100kPattern));
}

}  // namespace
}  // namespace lathe::text
