#include "base/suggest.h"

#include <gtest/gtest.h>

#include <vector>

namespace lathe {
namespace {

TEST(Suggest, DistanceCountsEditsAndSwaps) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("build", "build"), 0u);
  EXPECT_EQ(edit_distance("biuld", "build"), 1u);  // a swap
  EXPECT_EQ(edit_distance("compre", "compare"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(Suggest, NearestWinsAndFarOnesAreNotSuggested) {
  const std::vector<std::string> commands = {"build", "bench", "compare", "run"};
  EXPECT_EQ(suggest("biuld", commands), "build");
  EXPECT_EQ(suggest("benhc", commands), "bench");
  EXPECT_EQ(suggest("comp", commands), "compare");  // an abbreviation
  EXPECT_EQ(suggest("serve", commands), std::nullopt);
  EXPECT_EQ(suggest("", commands), std::nullopt);
  EXPECT_EQ(suggest("x", {}), std::nullopt);
}

}  // namespace
}  // namespace lathe
