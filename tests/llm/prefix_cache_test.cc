#include "llm/prefix_cache.h"

#include <gtest/gtest.h>

namespace lathe::llm {
namespace {

const std::vector<int32_t> kA = {1, 2}, kB = {3, 4};

TEST(PrefixCache, ABlockIsKnownByItsTokensAndByWhatIsBeforeIt) {
  PrefixCache cache;
  const auto a = cache.insert(PrefixCache::kRoot, "", kA, 7);
  const auto ab = cache.insert(a, "", kB, 8);
  EXPECT_EQ(cache.find(PrefixCache::kRoot, "", kA)->block, 7);
  EXPECT_EQ(cache.find(a, "", kB)->block, 8);
  EXPECT_FALSE(cache.find(PrefixCache::kRoot, "", kB));
  EXPECT_FALSE(cache.find(ab, "", kB));
  EXPECT_FALSE(cache.find(a, "", kA));
}

TEST(PrefixCache, TheSaltCountsForTheFirstBlock) {
  PrefixCache cache;
  const auto a = cache.insert(PrefixCache::kRoot, "x", kA, 1);
  EXPECT_FALSE(cache.find(PrefixCache::kRoot, "", kA));
  EXPECT_NE(cache.insert(PrefixCache::kRoot, "y", kA, 2), a);
  cache.insert(a, "x", kB, 3);
  EXPECT_EQ(cache.find(a, "whatever", kB)->block, 3);
}

TEST(PrefixCache, TheFirstBlockWithAContentStandsForIt) {
  PrefixCache cache;
  const auto a = cache.insert(PrefixCache::kRoot, "", kA, 1);
  EXPECT_EQ(cache.insert(PrefixCache::kRoot, "", kA, 2), a);
  EXPECT_TRUE(cache.holds(1));
  EXPECT_FALSE(cache.holds(2));
}

TEST(PrefixCache, WhatFollowedAForgottenBlockIsOutOfReach) {
  PrefixCache cache;
  const auto a = cache.insert(PrefixCache::kRoot, "", kA, 1);
  cache.insert(a, "", kB, 2);
  cache.forget(1);
  cache.forget(1);
  EXPECT_EQ(cache.size(), 1u);
  EXPECT_FALSE(cache.find(PrefixCache::kRoot, "", kA));
  const auto again = cache.insert(PrefixCache::kRoot, "", kA, 3);
  EXPECT_NE(again, a);
  EXPECT_FALSE(cache.find(again, "", kB));
}

}  // namespace
}  // namespace lathe::llm
