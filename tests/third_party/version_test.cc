#include "lathe/version.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace {

TEST(Version, MacrosAndLibraryAgree) {
  EXPECT_EQ(lathe::build_info().version, LATHE_VERSION);
  EXPECT_EQ(lathe::build_info().version,
            fmt::format("{}.{}.{}", LATHE_VERSION_MAJOR, LATHE_VERSION_MINOR, LATHE_VERSION_PATCH));
}

TEST(Version, NamesCommitAndCompiler) {
  EXPECT_THAT(std::string(lathe::build_info().commit), testing::MatchesRegex("[0-9a-f]{7,}(-dirty)?|unknown"));
  EXPECT_THAT(std::string(lathe::build_info().compiler), testing::MatchesRegex("(GNU|Clang) [0-9.]+"));
}

TEST(Version, IsasStartAtTheBaseline) {
  ASSERT_FALSE(lathe::build_info().isas.empty());
  EXPECT_EQ(lathe::build_info().isas.front(), "generic");
}

}  // namespace
