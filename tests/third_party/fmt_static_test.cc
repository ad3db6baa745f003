// fmt_static instantiates by hand what fmt's own library would; a missing instantiation is a link error of this test.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <chrono>
#include <locale>
#include <vector>

namespace {

TEST(FmtStatic, FormatsNumbers) {
  EXPECT_EQ(fmt::format("{} {:.3f} {:>4} {:#x} {}", 1.5f, 2.25, "a", 255, 1e300), "1.5 2.250    a 0xff 1e+300");
  EXPECT_EQ(fmt::format("{} {:e} {:a}", -0.0, 3.0L, 1.0), "-0 3.000000e+00 0x1p+0");
}

TEST(FmtStatic, FormatsThroughLocales) {
  EXPECT_EQ(fmt::format(std::locale::classic(), "{:L}", 1234567), "1234567");
  EXPECT_EQ(fmt::format("{:%H:%M:%S}", std::chrono::seconds(61)), "00:01:01");
}

TEST(FmtStatic, FormatsRangesAndErrors) {
  EXPECT_EQ(fmt::format("{} {}", std::vector<int>{1, 2}, fmt::join(std::vector<int>{3, 4}, "x")), "[1, 2] 3x4");
  EXPECT_STREQ(fmt::system_error(2, "open {}", "a").what(), "open a: No such file or directory");
  EXPECT_THROW((void)fmt::format(fmt::runtime("{:d}"), "text"), fmt::format_error);
}

}  // namespace
