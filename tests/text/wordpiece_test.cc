#include "text/wordpiece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"

namespace lathe::text {
namespace {

using ::testing::ElementsAre;

WordPiece make_model(const std::vector<std::string>& tokens, const WordPieceOptions& options = {}) {
  Vocabulary vocabulary;
  for (const std::string& token : tokens) vocabulary.add(token, static_cast<TokenId>(vocabulary.size()));
  return WordPiece(std::move(vocabulary), options);
}

std::vector<TokenId> tokenize(const WordPiece& model, std::string_view word) {
  std::vector<TokenId> ids;
  model.tokenize(word, ids);
  return ids;
}

TEST(WordPiece, TakesTheLongestTokenEachTime) {
  const WordPiece model = make_model({"[UNK]", "un", "una", "##ff", "##able", "##aff", "##a", "##b"});
  EXPECT_THAT(tokenize(model, "unaffable"), ElementsAre(2, 3, 4));
  EXPECT_THAT(tokenize(model, "un"), ElementsAre(1));
  EXPECT_THAT(tokenize(model, "unab"), ElementsAre(2, 7));
}

TEST(WordPiece, AWordThatCannotBeCoveredIsUnknownAsAWhole) {
  const WordPiece model = make_model({"[UNK]", "un", "##a"});
  EXPECT_THAT(tokenize(model, "unax"), ElementsAre(0));
  EXPECT_THAT(tokenize(model, "a"), ElementsAre(0));
  std::vector<TokenId> ids = {9};
  model.tokenize("unx", ids);
  EXPECT_THAT(ids, ElementsAre(9, 0));
}

TEST(WordPiece, CutsBetweenCharactersOnly) {
  const WordPiece model = make_model({"[UNK]", "é", "##你", "##\u00E8", "##😀"});
  EXPECT_THAT(tokenize(model, "é你"), ElementsAre(1, 2));
  EXPECT_THAT(tokenize(model, "é😀你è"), ElementsAre(1, 4, 2, 3));
  EXPECT_THAT(tokenize(model, "é好"), ElementsAre(0));
}

TEST(WordPiece, LengthLimitCountsCharacters) {
  WordPieceOptions options;
  options.max_input_chars_per_word = 3;
  const WordPiece model = make_model({"[UNK]", "你", "##你"}, options);
  EXPECT_THAT(tokenize(model, "你你你"), ElementsAre(1, 2, 2));
  EXPECT_THAT(tokenize(model, "你你你你"), ElementsAre(0));
  EXPECT_THAT(tokenize(model, ""), ElementsAre());
}

TEST(WordPiece, OtherPrefixAndUnknownToken) {
  WordPieceOptions options;
  options.continuing_subword_prefix = "";
  options.unk_token = "?";
  const WordPiece model = make_model({"?", "a", "ab"}, options);
  EXPECT_THAT(tokenize(model, "aaba"), ElementsAre(1, 2, 1));
  EXPECT_THROW(make_model({"a"}), Error);
}

std::vector<std::string> decode(std::vector<std::string> tokens, bool cleanup) {
  WordPieceDecoder("##", cleanup).decode(tokens);
  return tokens;
}

TEST(WordPiece, DecodingJoinsContinuations) {
  EXPECT_THAT(decode({"##a", "##b", "c", "."}, false), ElementsAre("##a", "b", " c", " ."));
  EXPECT_THAT(decode({}, true), ElementsAre());
}

TEST(WordPiece, CleanUpDropsTheBlankBeforePunctuation) {
  EXPECT_THAT(decode({"a", ".", ",", "?", "!", "'s", "n't", "'", "x . y", "do not"}, true),
              ElementsAre("a", ".", ",", "?", "!", "'s", "n't", " '", " x. y", " don't"));
}

}  // namespace
}  // namespace lathe::text
