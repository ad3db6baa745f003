#include "text/decoders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "text/byte_level.h"

namespace lathe::text {
namespace {

using ::testing::ElementsAre;
using Strings = std::vector<std::string>;

Strings decode(const Decoder& decoder, Strings tokens) {
  decoder.decode(tokens);
  return tokens;
}

TEST(ByteLevelDecoder, JoinsBytesAndLeavesOtherTokensAlone) {
  EXPECT_THAT(decode(ByteLevelDecoder(), {"aĠ", "Ã", "©", "你"}), ElementsAre("a é你"));
  EXPECT_THAT(decode(ByteLevelDecoder(), {"Ã"}), ElementsAre("\uFFFD"));
}

TEST(ReplaceMalformed, OneReplacementForEachBrokenCharacter) {
  EXPECT_EQ(replace_malformed("\xE4\xBD"), "\uFFFD");
  EXPECT_EQ(replace_malformed("\xE4\xBD"
                              "a\xF0\x9F\x98"),
            "\uFFFDa\uFFFD");
  EXPECT_EQ(replace_malformed("\xFF\x80"), "\uFFFD\uFFFD");
  EXPECT_EQ(replace_malformed("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(replace_malformed("\xE0\x80"), "\uFFFD\uFFFD");            // overlong
  EXPECT_EQ(replace_malformed("é你😀"), "é你😀");
}

TEST(ByteFallbackDecoder, RunsOfBytes) {
  EXPECT_THAT(decode(ByteFallbackDecoder(), {"a", "<0xC3>", "<0xA9>", "b"}), ElementsAre("a", "é", "b"));
  EXPECT_THAT(decode(ByteFallbackDecoder(), {"<0xC3>", "<0xA9>", "<0xC3>"}), ElementsAre("\uFFFD", "\uFFFD", "\uFFFD"));
  EXPECT_THAT(decode(ByteFallbackDecoder(), {"<0xZZ>", "<0x4>"}), ElementsAre("<0xZZ>", "<0x4>"));
}

TEST(Decoders, SmallOnes) {
  EXPECT_THAT(decode(FuseDecoder(), {"a", "b"}), ElementsAre("ab"));
  EXPECT_THAT(decode(StripDecoder("x", 1, 2), {"xxaxxx", "x", ""}), ElementsAre("xax", "", ""));
  EXPECT_THAT(decode(ReplaceDecoder(Pattern::literal("▁"), " "), {"▁a▁", "b"}), ElementsAre(" a ", "b"));
  EXPECT_THAT(decode(MetaspaceDecoder("▁", true), {"▁a", "▁b"}), ElementsAre("a", " b"));
  EXPECT_THAT(decode(MetaspaceDecoder("▁", false), {"▁a", "▁b"}), ElementsAre(" a", " b"));
  EXPECT_THAT(decode(BpeDecoder("</w>"), {"a", "b</w>", "c</w>"}), ElementsAre("a", "b ", "c"));
  EXPECT_THAT(decode(CtcDecoder("<pad>", "|", true), {"a", "a", "<pad>", "a", "|", "b"}),
              ElementsAre("a", "a", " ", "b"));
}

TEST(CleanUpEnglish, TakesBlanksAway) {
  std::string text = "I 'm here , do n't go . It 's";
  clean_up_english(text);
  EXPECT_EQ(text, "I'm here, don't go. It's");
}

}  // namespace
}  // namespace lathe::text
