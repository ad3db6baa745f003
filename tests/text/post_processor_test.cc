#include "text/post_processor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace lathe::text {
namespace {

using ::testing::ElementsAre;
using Ids = std::vector<TokenId>;

const PostProcessor kBert = PostProcessor::bert(101, 102);

TEST(PostProcessor, BertWrapsTextsAndPairs) {
  const Encoding single = kBert.assemble(Ids{1, 2}, std::nullopt, true, 0);
  EXPECT_THAT(single.ids, ElementsAre(101, 1, 2, 102));
  EXPECT_THAT(single.type_ids, ElementsAre(0, 0, 0, 0));
  const Encoding pair = kBert.assemble(Ids{1, 2}, Ids{3}, true, 0);
  EXPECT_THAT(pair.ids, ElementsAre(101, 1, 2, 102, 3, 102));
  EXPECT_THAT(pair.type_ids, ElementsAre(0, 0, 0, 0, 1, 1));
}

TEST(PostProcessor, SpecialTokensCanBeLeftOut) {
  const Encoding pair = kBert.assemble(Ids{1, 2}, Ids{3}, false, 0);
  EXPECT_THAT(pair.ids, ElementsAre(1, 2, 3));
  EXPECT_THAT(pair.type_ids, ElementsAre(0, 0, 1));
}

TEST(PostProcessor, DefaultOnlyJoins) {
  const Encoding pair = PostProcessor().assemble(Ids{1}, Ids{2, 3}, true, 0);
  EXPECT_THAT(pair.ids, ElementsAre(1, 2, 3));
  EXPECT_THAT(pair.type_ids, ElementsAre(0, 1, 1));
}

TEST(PostProcessor, ALimitCountsSpecialTokens) {
  EXPECT_THAT(kBert.assemble(Ids{1, 2, 3, 4}, std::nullopt, true, 4).ids, ElementsAre(101, 1, 2, 102));
  EXPECT_THAT(kBert.assemble(Ids{1, 2}, std::nullopt, true, 4).ids, ElementsAre(101, 1, 2, 102));
  EXPECT_THAT(kBert.assemble(Ids{1, 2, 3, 4}, std::nullopt, false, 3).ids, ElementsAre(1, 2, 3));
  EXPECT_THAT(kBert.assemble(Ids{1}, std::nullopt, true, 2).ids, ElementsAre(101, 102));
  EXPECT_THROW(kBert.assemble(Ids{1}, std::nullopt, true, 1), Error);
}

// The lengths that Hugging Face's `longest_first` leaves of two texts when `budget` ids may remain.
TEST(PostProcessor, PairsLoseFromTheLongerText) {
  struct Case {
    size_t first, second, budget, kept_first, kept_second;
  };
  for (const auto& [first, second, budget, kept_first, kept_second] :
       {Case{3, 10, 8, 3, 5}, Case{10, 3, 8, 5, 3}, Case{5, 10, 8, 4, 4}, Case{5, 5, 9, 4, 5}, Case{10, 5, 9, 5, 4},
        Case{4, 5, 9, 4, 5}, Case{0, 5, 3, 0, 3}, Case{2, 2, 100, 2, 2}}) {
    const Encoding encoding = PostProcessor().assemble(Ids(first, 1), Ids(second, 2), true, budget);
    EXPECT_EQ(std::count(encoding.ids.begin(), encoding.ids.end(), 1), static_cast<long>(kept_first));
    EXPECT_EQ(std::count(encoding.ids.begin(), encoding.ids.end(), 2), static_cast<long>(kept_second));
  }
}

TEST(PostProcessor, ASingleTemplateHasOneText) {
  using Piece = PostProcessor::Piece;
  EXPECT_THROW(PostProcessor({Piece{Piece::Kind::second, 0, {}}}, {}), Error);
}

}  // namespace
}  // namespace lathe::text
