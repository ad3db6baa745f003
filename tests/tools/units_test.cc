#include "tools/units.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace lathe::tools {
namespace {

TEST(Units, ThreeSignificantDigits) {
  EXPECT_EQ(format_number(0), "0");
  EXPECT_EQ(format_number(1), "1.00");
  EXPECT_EQ(format_number(12.345), "12.3");
  EXPECT_EQ(format_number(9.996), "10.0");
  EXPECT_EQ(format_number(1234), "1234");
  EXPECT_EQ(format_number(0.00123), "0.00123");
  EXPECT_EQ(format_number(0.000123), "1.23e-04");
  EXPECT_EQ(format_number(-2.5), "-2.50");
  EXPECT_EQ(format_number(NAN), "nan");
  EXPECT_EQ(format_number(-INFINITY), "-inf");
}

TEST(Units, TheUnitFitsTheSize) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(4.11e6), "4.11 MB");
  EXPECT_EQ(format_bytes(999.96e6), "1.00 GB");  // rounding reaches the next unit
  EXPECT_EQ(format_count(9999), "9999");
  EXPECT_EQ(format_count(21.1e6), "21.1 M");
  EXPECT_EQ(format_time(0.0123), "12.3 us");
  EXPECT_EQ(format_time(4.56), "4.56 ms");
  EXPECT_EQ(format_time(7890), "7.89 s");
  EXPECT_EQ(format_percent(0.1234), "12.3 %");
  EXPECT_EQ(format_percent(NAN), "-");
}

TEST(Units, Dims) {
  EXPECT_EQ(format_dims(std::vector<int64_t>{}), "scalar");
  EXPECT_EQ(format_dims(std::vector<int64_t>{2, 0, 64}), "2x0x64");
}

}  // namespace
}  // namespace lathe::tools
