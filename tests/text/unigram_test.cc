#include "text/unigram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "base/error.h"

namespace lathe::text {
namespace {

using ::testing::ElementsAre;

Unigram make(std::vector<Unigram::Piece> pieces, UnigramOptions options) {
  Vocabulary vocabulary;
  for (size_t i = 0; i < pieces.size(); ++i) {
    pieces[i].id = static_cast<TokenId>(i);
    vocabulary.add(pieces[i].token, pieces[i].id);
  }
  return Unigram(std::move(vocabulary), std::move(pieces), options);
}

std::vector<TokenId> ids_of(const TokenModel& model, std::string_view word) {
  std::vector<TokenId> ids;
  model.tokenize(word, ids);
  return ids;
}

const std::vector<Unigram::Piece> kPieces = {{"<unk>", 0, 0.0}, {"a", 0, -1.0},   {"b", 0, -1.0},
                                             {"ab", 0, -1.5},   {"abc", 0, -9.0}, {"c", 0, -2.0}};

TEST(Unigram, TakesTheCutWithTheGreatestScore) {
  UnigramOptions options;
  options.unk_id = 0;
  options.unk_score = -19;
  const Unigram model = make(kPieces, options);
  EXPECT_THAT(ids_of(model, "ab"), ElementsAre(3));
  EXPECT_THAT(ids_of(model, "abc"), ElementsAre(3, 5));  // -3.5 against -9
  EXPECT_THAT(ids_of(model, "ba"), ElementsAre(2, 1));
  EXPECT_THAT(ids_of(model, ""), ElementsAre());
}

TEST(Unigram, NeighbouringUnknownCharactersAreOne) {
  UnigramOptions options;
  options.unk_id = 0;
  options.unk_score = -19;
  EXPECT_THAT(ids_of(make(kPieces, options), "x你ay"), ElementsAre(0, 1, 0));
  options.unk_id.reset();
  EXPECT_THROW(ids_of(make(kPieces, options), "x"), Error);
}

TEST(Unigram, UnknownCharactersFallBackToTheirBytes) {
  std::vector<Unigram::Piece> pieces = kPieces;
  pieces.push_back({"<0xC3>", 0, 0, false});
  pieces.push_back({"<0xA9>", 0, 0, false});
  UnigramOptions options;
  options.unk_id = 0;
  options.unk_score = -19;
  options.byte_fallback = true;
  EXPECT_THAT(ids_of(make(pieces, options), "aé"), ElementsAre(1, 6, 7));
  EXPECT_THAT(ids_of(make(pieces, options), "aè"), ElementsAre(1, 0));
}

TEST(Unigram, PiecesThatAreNotSearchedAreNeverFoundAndUserDefinedOnesAlways) {
  UnigramOptions options;
  options.unk_id = 0;
  options.unk_score = -19;
  std::vector<Unigram::Piece> pieces = kPieces;
  pieces[3].searched = false;
  EXPECT_THAT(ids_of(make(pieces, options), "ab"), ElementsAre(1, 2));
  pieces[4].user_defined = true;
  pieces[4].score = 0;
  EXPECT_THAT(ids_of(make(pieces, options), "abc"), ElementsAre(4));
}

}  // namespace
}  // namespace lathe::text
