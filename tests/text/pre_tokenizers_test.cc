#include "text/pre_tokenizers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "text/byte_level.h"
#include "text/unicode.h"

namespace lathe::text {
namespace {

using ::testing::ElementsAre;
using Strings = std::vector<std::string>;

Strings pieces(const PreTokenizer& stage, std::string_view text, bool at_start = true) {
  Words words;
  words.assign(text, at_start);
  stage.split(words);
  Strings out;
  for (const Span& span : words.spans) out.emplace_back(words.word(span));
  return out;
}

Strings split(SplitBehavior behavior, bool invert = false) {
  return pieces(Split(Pattern::literal("-"), behavior, invert), "the-final--countdown");
}

// The examples of Hugging Face's documentation.
TEST(Split, EachBehavior) {
  EXPECT_THAT(split(SplitBehavior::removed), ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(split(SplitBehavior::isolated), ElementsAre("the", "-", "final", "-", "-", "countdown"));
  EXPECT_THAT(split(SplitBehavior::contiguous), ElementsAre("the", "-", "final", "--", "countdown"));
  EXPECT_THAT(split(SplitBehavior::merged_with_previous), ElementsAre("the-", "final-", "-", "countdown"));
  EXPECT_THAT(split(SplitBehavior::merged_with_next), ElementsAre("the", "-final", "-", "-countdown"));
}

TEST(Split, InvertedTheOtherStretchesCountAsFound) {
  EXPECT_THAT(split(SplitBehavior::removed, true), ElementsAre("-", "-", "-"));
  EXPECT_THAT(split(SplitBehavior::contiguous, true), ElementsAre("the", "-", "final", "--", "countdown"));
  EXPECT_THAT(split(SplitBehavior::merged_with_next, true), ElementsAre("the-", "final-", "-", "countdown"));
}

TEST(Split, AnEmptyPatternCutsBetweenCharactersAndAnEmptyTextGivesNothing) {
  EXPECT_THAT(pieces(Split(Pattern::literal(""), SplitBehavior::isolated, false), "a月c"), ElementsAre("a", "月", "c"));
  EXPECT_THAT(pieces(Split(Pattern::literal("-"), SplitBehavior::removed, false), "--"), ElementsAre());
  EXPECT_THAT(pieces(Split(Pattern::literal("-"), SplitBehavior::isolated, false), ""), ElementsAre());
}

TEST(SplitCharacters, Classes) {
  EXPECT_THAT(pieces(SplitCharacters(is_number, SplitBehavior::isolated), "a12٣"), ElementsAre("a", "1", "2", "٣"));
  EXPECT_THAT(pieces(SplitCharacters(is_number, SplitBehavior::contiguous), "a12b"), ElementsAre("a", "12", "b"));
  EXPECT_THAT(pieces(SplitCharacters(is_white_space, SplitBehavior::removed), " a\u3000b\n"), ElementsAre("a", "b"));
}

TEST(SplitWords, WordsAndRunsOfSymbols) {
  EXPECT_THAT(pieces(SplitWords(), "Hey, you!? é_1 "), ElementsAre("Hey", ",", "you", "!?", "é_1"));
  EXPECT_THAT(pieces(SplitWords(), "  "), ElementsAre());
}

TEST(AddPrefixSpace, PutsABlankBeforeEachWordWithoutOne) {
  EXPECT_THAT(pieces(AddPrefixSpace(), "a"), ElementsAre(" a"));
  EXPECT_THAT(pieces(AddPrefixSpace(), " a"), ElementsAre(" a"));
  std::vector<std::unique_ptr<PreTokenizer>> stages;
  stages.push_back(std::make_unique<SplitWords>());
  stages.push_back(std::make_unique<AddPrefixSpace>());
  EXPECT_THAT(pieces(PreTokenizerSequence(std::move(stages)), "a b"), ElementsAre(" a", " b"));
}

TEST(Metaspace, BlanksBecomeMarksThatBeginWords) {
  using Prefix = Metaspace::Prefix;
  EXPECT_THAT(pieces(Metaspace("_", Prefix::always, true), "a  b"), ElementsAre("_a", "_", "_b"));
  EXPECT_THAT(pieces(Metaspace("_", Prefix::always, true), " a"), ElementsAre("_a"));
  EXPECT_THAT(pieces(Metaspace("_", Prefix::always, true), "_a"), ElementsAre("_a"));
  EXPECT_THAT(pieces(Metaspace("_", Prefix::never, true), "a b"), ElementsAre("a", "_b"));
  EXPECT_THAT(pieces(Metaspace("_", Prefix::first, false), "a b"), ElementsAre("_a_b"));
  EXPECT_THAT(pieces(Metaspace("_", Prefix::first, true), "a b", /*at_start=*/false), ElementsAre("a", "_b"));
}

TEST(ByteCharacters, StandForBytes) {
  EXPECT_THAT(pieces(ByteCharacters(), "é \n"), ElementsAre("Ã©ĠĊ"));
  for (int byte = 0; byte < 256; ++byte) {
    const auto b = static_cast<unsigned char>(byte);
    EXPECT_EQ(byte_of_character(character_of_byte(b)), b);
  }
  for (const char32_t none : {U' ', U'\u00AD', U'\u0144', U'你'}) EXPECT_EQ(byte_of_character(none), std::nullopt);
}

}  // namespace
}  // namespace lathe::text
