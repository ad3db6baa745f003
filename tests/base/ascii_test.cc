#include "base/ascii.h"

#include <gtest/gtest.h>

namespace lathe {
namespace {

TEST(Ascii, OnlyLettersHaveAnotherCase) {
  EXPECT_EQ(ascii_lower("@AMZ[ `amz{ 09_"), "@amz[ `amz{ 09_");
  EXPECT_EQ(ascii_lower("ÄÉ\xff"), "ÄÉ\xff");
  EXPECT_EQ(ascii_upper('a'), 'A');
  EXPECT_EQ(ascii_upper('z'), 'Z');
  for (const char c : {'`', '{', '@', '[', '7', '\xe4'}) EXPECT_EQ(ascii_upper(c), c);
}

}  // namespace
}  // namespace lathe
