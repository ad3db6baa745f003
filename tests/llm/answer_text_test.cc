#include "llm/answer_text.h"

#include <gtest/gtest.h>

namespace lathe::llm {
namespace {

// Ids are letters.
class Letters : public TextDecoder {
 public:
  std::string push(int32_t id) override { return {static_cast<char>(id)}; }
  std::string flush() override { return "!"; }
};

std::vector<std::string> pieces(AnswerText& text, std::string_view letters) {
  std::vector<std::string> all;
  for (const char c : letters) all.push_back(text.push(c));
  return all;
}

using Pieces = std::vector<std::string>;

TEST(AnswerText, WithoutStopsEverythingComesAtOnce) {
  AnswerText text(std::make_unique<Letters>(), {""});
  EXPECT_EQ(pieces(text, "abc"), (Pieces{"a", "b", "c"}));
  EXPECT_EQ(text.finish(), "!");
}

TEST(AnswerText, ThePossibleBeginningOfAStopIsHeldBack) {
  AnswerText text(std::make_unique<Letters>(), {"END", "xyz"});
  EXPECT_EQ(pieces(text, "aENxbEEN"), (Pieces{"a", "", "", "EN", "xb", "", "E", ""}));
  EXPECT_EQ(text.push('D'), "");
  EXPECT_TRUE(text.stopped());
  EXPECT_EQ(text.push('q'), "");
  EXPECT_EQ(text.finish(), "");
}

TEST(AnswerText, WhatWasHeldBackComesAtTheEnd) {
  AnswerText text(std::make_unique<Letters>(), {"END"});
  EXPECT_EQ(pieces(text, "aEN"), (Pieces{"a", "", ""}));
  EXPECT_EQ(text.finish(), "EN!");
}

TEST(AnswerText, TheFirstStopCounts) {
  AnswerText text(std::make_unique<Letters>(), {"bc", "abcd"});
  EXPECT_EQ(pieces(text, "xabc"), (Pieces{"x", "", "", "a"}));
  EXPECT_TRUE(text.stopped());
}

}  // namespace
}  // namespace lathe::llm
