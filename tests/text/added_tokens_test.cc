#include "text/added_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "text/bert_text.h"

namespace lathe::text {
namespace {

using ::testing::ElementsAre;

AddedToken token(TokenId id, std::string content) {
  AddedToken out;
  out.id = id;
  out.content = std::move(content);
  return out;
}

// Text as it is, tokens as <id>.
std::vector<std::string> show(const std::vector<AddedTokens::Segment>& segments) {
  std::vector<std::string> out;
  for (const auto& segment : segments)
    out.push_back(segment.id ? "<" + std::to_string(*segment.id) + ">" : std::string(segment.text));
  return out;
}

TEST(AddedTokens, CutsTokensOutOfTheText) {
  const AddedTokens tokens({token(1, "[MASK]"), token(2, "[SEP]")}, nullptr);
  EXPECT_THAT(show(tokens.split_raw("a[MASK][SEP] b[mask]")), ElementsAre("a", "<1>", "<2>", " b[mask]"));
  EXPECT_THAT(show(tokens.split_raw("")), ElementsAre());
  EXPECT_THAT(show(tokens.split_raw("[MAS[MASK]")), ElementsAre("[MAS", "<1>"));
  EXPECT_THAT(show(tokens.split_normalized("[MASK]")), ElementsAre("[MASK]"));
}

TEST(AddedTokens, TheLongestWins) {
  const AddedTokens tokens({token(1, "ab"), token(2, "abcd"), token(3, "bcde")}, nullptr);
  EXPECT_THAT(show(tokens.split_raw("abcde")), ElementsAre("<2>", "e"));
  EXPECT_THAT(show(tokens.split_raw("abcx")), ElementsAre("<1>", "cx"));
}

TEST(AddedTokens, StrippingTakesWhiteSpaceAlong) {
  AddedToken left = token(1, "<l>"), right = token(2, "<r>");
  left.lstrip = true;
  right.rstrip = true;
  const AddedTokens tokens({left, right}, nullptr);
  EXPECT_THAT(show(tokens.split_raw("a \u3000<l> b <r> \n c")), ElementsAre("a", "<1>", " b ", "<2>", "c"));
  EXPECT_THAT(show(tokens.split_raw("<r>  <l>")), ElementsAre("<2>", "<1>"));
  EXPECT_THAT(show(tokens.split_raw("  <l>")), ElementsAre("<1>"));
}

// White space that one token took along may hold the next; one that takes no more than that is none.
TEST(AddedTokens, StrippingDoesNotHideTokens) {
  AddedToken blanks = token(1, "  ");
  blanks.rstrip = true;
  EXPECT_THAT(show(AddedTokens({blanks}, nullptr).split_raw("a    b")), ElementsAre("a", "<1>", "<1>", "b"));
  blanks.lstrip = true;
  EXPECT_THAT(show(AddedTokens({blanks}, nullptr).split_raw("a    b")), ElementsAre("a", "<1>", "b"));
}

TEST(AddedTokens, SingleWordsNeedBoundaries) {
  AddedToken word = token(1, "foo");
  word.single_word = true;
  const AddedTokens tokens({word}, nullptr);
  EXPECT_THAT(show(tokens.split_raw("foo food 你foo -foo, foo_ foo")),
              ElementsAre("<1>", " food 你foo -", "<1>", ", foo_ ", "<1>"));
}

TEST(AddedTokens, NormalizedTokensMatchNormalizedText) {
  AddedToken word = token(1, "Café");
  word.normalized = true;
  const BertNormalizer normalizer(BertNormalizerOptions{});
  const AddedTokens tokens({word, token(2, "RAW")}, &normalizer);
  EXPECT_THAT(show(tokens.split_raw("Café RAW")), ElementsAre("Café ", "<2>"));
  EXPECT_THAT(show(tokens.split_normalized("a cafe")), ElementsAre("a ", "<1>"));
}

TEST(AddedTokens, EmptyTokensMatchNothing) {
  const AddedTokens tokens({token(1, "")}, nullptr);
  EXPECT_THAT(show(tokens.split_raw("ab")), ElementsAre("ab"));
}

TEST(AddedTokens, SpecialOnesInPlainRangesAreText) {
  AddedToken end = token(1, "<|end|>"), user = token(2, "<|user|>"), think = token(3, "<think>");
  end.special = user.special = true;
  const AddedTokens tokens({end, user, think}, nullptr);
  const std::string text = "<|user|>a<|end|><think><|end|>";
  const auto plain = [&](std::vector<ByteRange> ranges) { return show(tokens.split_raw(text, ranges)); };
  EXPECT_THAT(plain({{8, 23}}), ElementsAre("<2>", "a<|end|>", "<3>", "<1>"));
  EXPECT_THAT(plain({{8, 9}}), ElementsAre("<2>", "a", "<1>", "<3>", "<1>"));    // ranges end where tokens begin
  EXPECT_THAT(plain({{15, 16}}), ElementsAre("<2>", "a<|end|>", "<3>", "<1>"));  // one byte of it is enough
  EXPECT_THAT(plain({{0, 1}, {9, 10}, {29, 30}}), ElementsAre("<|user|>a<|end|>", "<3>", "<|end|>"));
  EXPECT_THAT(plain({{0, 30}}), ElementsAre("<|user|>a<|end|>", "<3>", "<|end|>"));
}

TEST(AddedTokens, AShorterTokenBeforeAPlainRangeStillCounts) {
  AddedToken part = token(1, "<s>"), whole = token(2, "<s>!");
  part.special = whole.special = true;
  const AddedTokens tokens({part, whole}, nullptr);
  const std::vector<ByteRange> plain = {{3, 4}};
  EXPECT_THAT(show(tokens.split_raw("<s>!", plain)), ElementsAre("<1>", "!"));
  EXPECT_THAT(show(tokens.split_raw("<s>!", {})), ElementsAre("<2>"));
}

TEST(AddedTokens, NormalizedSpecialTokensAreFoundInTheRawTextBesidePlainRanges) {
  AddedToken special = token(1, "<s>"), word = token(2, "word");
  special.normalized = word.normalized = special.special = true;
  const AddedTokens tokens({special, word}, nullptr);
  const std::vector<ByteRange> plain = {{3, 6}};
  EXPECT_THAT(show(tokens.split_raw("<s><s>word", plain)), ElementsAre("<1>", "<s>word"));
  EXPECT_THAT(show(tokens.split_normalized_without_special("<s>word")), ElementsAre("<s>", "<2>"));
}

}  // namespace
}  // namespace lathe::text
