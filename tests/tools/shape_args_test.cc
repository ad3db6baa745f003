#include "tools/shape_args.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace lathe::tools {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Dims = std::vector<int64_t>;

TEST(ShapeArgs, Shape) {
  EXPECT_EQ(parse_shape_arg("ids:2x64").pattern, "ids");
  EXPECT_THAT(parse_shape_arg("ids:2x64").dims, ElementsAre(2, 64));
  EXPECT_THAT(parse_shape_arg("x:0").dims, ElementsAre(0));
  EXPECT_THAT(parse_shape_arg("x:scalar").dims, IsEmpty());
  EXPECT_EQ(parse_shape_arg("serving:0:1x3").pattern, "serving:0");  // TensorFlow's names
}

TEST(ShapeArgs, MalformedShapes) {
  for (const char* text :
       {"", "ids", ":1", "ids:", "ids:1x", "ids:x1", "ids:-1", "ids:1x2y", "a*b*:1", "ids:99999999999999999999"})
    EXPECT_THROW(parse_shape_arg(text), Error) << text;
}

TEST(ShapeArgs, Dimension) {
  EXPECT_EQ(parse_dim_arg("batch=8").symbol, "batch");
  EXPECT_EQ(parse_dim_arg("batch=8").value, 8);
  for (const char* text : {"batch", "=8", "batch=", "batch=-1", "batch=8x"})
    EXPECT_THROW(parse_dim_arg(text), Error) << text;
}

TEST(ShapeArgs, Profile) {
  const ProfileArg plain = parse_profile_arg("ids:1x8:1x128:8x512");
  EXPECT_EQ(plain.index, 0u);
  EXPECT_EQ(plain.pattern, "ids");
  EXPECT_EQ(plain.range, (SizeRange{{1, 8}, {1, 128}, {8, 512}}));
  const ProfileArg indexed = parse_profile_arg("1:past_*.key:1:2:3");
  EXPECT_EQ(indexed.index, 1u);
  EXPECT_EQ(indexed.pattern, "past_*.key");
  EXPECT_EQ(parse_profile_arg("x:0:1:1:1").pattern, "x:0");
}

TEST(ShapeArgs, MalformedProfiles) {
  for (const char* text : {"ids:1:2", "ids:2:1:3", "ids:1:3:2", "ids:1:1x2:3", "99:ids:1:1:1", ":1:1:1"})
    EXPECT_THROW(parse_profile_arg(text), Error) << text;
}

TEST(ShapeArgs, AnExactNameWinsOverAPattern) {
  const std::vector<std::string> names = {"past.0", "past.1", "ids"};
  const std::vector<ProfileArg> args = {parse_profile_arg("past.1:9:9:9"), parse_profile_arg("past.*:1:2:3"),
                                        parse_profile_arg("1:ids:4:5:6")};
  const std::vector<Profile> profiles = make_profiles(args, names);
  ASSERT_EQ(profiles.size(), 2u);
  EXPECT_EQ(profiles[0].at("past.0").opt, Dims{2});
  EXPECT_EQ(profiles[0].at("past.1").opt, Dims{9});
  EXPECT_EQ(profiles[0].count("ids"), 0u);
  EXPECT_EQ(profiles[1].at("ids").max, Dims{6});
}

TEST(ShapeArgs, ProfilesThatDoNotFitTheModel) {
  const std::vector<std::string> names = {"ids"};
  try {
    make_profiles(std::vector{parse_profile_arg("idx:1:1:1")}, names);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("ids"));  // says what there is
  }
  EXPECT_THROW(make_profiles(std::vector{parse_profile_arg("1:ids:1:1:1")}, names), Error);  // 0 is missing
}

TEST(ShapeArgs, SweepAndTime) {
  EXPECT_EQ(parse_sweep_arg("batch=1,2,4").symbol, "batch");
  EXPECT_THAT(parse_sweep_arg("batch=1,2,4").values, ElementsAre(1, 2, 4));
  for (const char* text : {"batch", "batch=", "batch=1,", "=1"}) EXPECT_THROW(parse_sweep_arg(text), Error) << text;
  EXPECT_DOUBLE_EQ(parse_milliseconds("2ms"), 2);
  EXPECT_DOUBLE_EQ(parse_milliseconds("2"), 2);
  EXPECT_DOUBLE_EQ(parse_milliseconds("1.5 s"), 1500);
  EXPECT_DOUBLE_EQ(parse_milliseconds("800us"), 0.8);
  for (const char* text : {"", "ms", "-1ms", "2 h", "nan", "1e99s"})
    EXPECT_THROW(parse_milliseconds(text), Error) << text;
}

}  // namespace
}  // namespace lathe::tools
