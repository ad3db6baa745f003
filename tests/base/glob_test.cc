#include "base/glob.h"

#include <gtest/gtest.h>

#include <string>

namespace lathe {
namespace {

TEST(Glob, StarsStandForAnyText) {
  for (const auto& [pattern, name] : std::vector<std::pair<std::string, std::string>>{{"", ""},
                                                                                      {"*", ""},
                                                                                      {"**", "a"},
                                                                                      {"ids", "ids"},
                                                                                      {"a*c*e", "abcde"},
                                                                                      {"layer.*", "layer.0/out"},
                                                                                      {"past.*.key", "past.0.key"},
                                                                                      {"*aab", "aaab"},
                                                                                      {"*b*b", "abab"}})
    EXPECT_TRUE(glob_matches(pattern, name)) << pattern << ' ' << name;
  for (const auto& [pattern, name] : std::vector<std::pair<std::string, std::string>>{{"", "a"},
                                                                                      {"ids", "ids2"},
                                                                                      {"ids2", "ids"},
                                                                                      {"a*c", "abcd"},
                                                                                      {"abc", "abcd"},
                                                                                      {"ab*ba", "aba"},
                                                                                      {"aa*aa", "aaa"},
                                                                                      {"*a*a*a", "aa"}})
    EXPECT_FALSE(glob_matches(pattern, name)) << pattern << ' ' << name;
}

TEST(Glob, ManyStarsTakeNoLongTime) {
  const std::string name(5000, 'a');
  std::string pattern;
  for (int i = 0; i < 500; ++i) pattern += "*a";
  EXPECT_FALSE(glob_matches(pattern + "b", name));
  EXPECT_TRUE(glob_matches(pattern, name));
}

}  // namespace
}  // namespace lathe
