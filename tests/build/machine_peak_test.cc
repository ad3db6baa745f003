// The floor that times are held against: compute or traffic, whichever takes longer, at the level the data fits into.
#include "build/machine_peak.h"

#include <gtest/gtest.h>

namespace lathe {
namespace {

TEST(MachinePeak, FloorIsTheLongerOfComputeAndTraffic) {
  const MachinePeak peak{100, {{1000, 50}, {1'000'000, 10}, {100'000'000, 5}}};
  EXPECT_DOUBLE_EQ(peak.floor_seconds(1e9, 0), 1e9 / 100e9);
  EXPECT_DOUBLE_EQ(peak.floor_seconds(0, 500), 500 / 50e9);
  EXPECT_DOUBLE_EQ(peak.floor_seconds(0, 1e6), 1e6 / 10e9);
  EXPECT_DOUBLE_EQ(peak.floor_seconds(0, 1e9), 1e9 / 5e9) << "beyond the last level: memory";
}

TEST(MachinePeak, MeasuresSomethingPlausible) {
  const MachinePeak peak = measure_machine_peak(Isa::generic, 1);
  EXPECT_GT(peak.gflops, 0.1);
  EXPECT_LT(peak.gflops, 1e4);
  EXPECT_GT(peak.byte_gops, 0.1);
  ASSERT_FALSE(peak.levels.empty());
  for (size_t i = 1; i < peak.levels.size(); ++i) EXPECT_LT(peak.levels[i - 1].bytes, peak.levels[i].bytes);
}

}  // namespace
}  // namespace lathe
