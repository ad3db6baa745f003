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

}  // namespace
}  // namespace lathe::text
