#include "onnx/dim_param.h"

#include <gtest/gtest.h>

namespace lathe::onnx {
namespace {

std::string parsed(std::string_view text) {
  const auto meaning = [](std::string_view name) -> std::optional<Dim> {
    if (name == "fixed") return Dim(8);
    if (name == "past" || name == "seq.1") return Dim::symbol(std::string(name));
    return std::nullopt;
  };
  const auto dim = parse_dim_param(text, meaning);
  return dim ? dim->to_string() : "opaque";
}

TEST(DimParamTest, ExpressionsOverKnownNames) {
  EXPECT_EQ(parsed("past + 1"), "past + 1");
  EXPECT_EQ(parsed("past+seq.1"), "past + seq.1");
  EXPECT_EQ(parsed("2*(past - 1)"), "2*past - 2");
  EXPECT_EQ(parsed("(past - 1)//4 + 1"), "floor_div(past - 1, 4) + 1");
  EXPECT_EQ(parsed("floor(past/2)"), "floor_div(past, 2)");
  EXPECT_EQ(parsed("floor((past + 1)/(2*seq.1))"), "floor_div(past + 1, 2*seq.1)");
  EXPECT_EQ(parsed("Max(1, past)"), "max(1, past)");
  EXPECT_EQ(parsed("min(past, seq.1)"), "min(past, seq.1)");
  EXPECT_EQ(parsed("-past + 10"), "-past + 10");
  EXPECT_EQ(parsed("fixed + past"), "past + 8");
}

TEST(DimParamTest, EverythingElseIsAName) {
  for (const char* text :
       {"past + unknown", "past +", "(past", "past)", "past 1", "past / 2", "2past", "past // 0", "floor past",
        "Max(1)", "sin(past, past)", "", "past + 99999999999999999999", "past * 4611686018427387904 * 4", "é"})
    EXPECT_EQ(parsed(text), "opaque") << text;
  EXPECT_EQ(parsed(std::string(10000, '(')), "opaque");
  EXPECT_EQ(parsed(std::string(10000, '-')), "opaque");
}

TEST(DimParamTest, Identifiers) {
  EXPECT_TRUE(is_identifier("past_sequence.length"));
  for (const char* text : {"", "1a", "a b", "a+b", "a-b"}) EXPECT_FALSE(is_identifier(text)) << text;
}

}  // namespace
}  // namespace lathe::onnx
