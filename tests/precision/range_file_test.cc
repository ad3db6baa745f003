// The calibration cache on disk.
#include "precision/range_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"

namespace lathe::precision {
namespace {

std::filesystem::path file_with(const std::string& name, const std::string& text) {
  const auto path = std::filesystem::path(testing::TempDir()) / name;
  std::ofstream(path) << text;
  return path;
}

TEST(RangeFile, GivesBackWhatWasSaved) {
  const auto path = std::filesystem::path(testing::TempDir()) / "ranges.json";
  save_ranges(path, {{"conv \"1\"", {-0.5, 3.25}}, {"x", {0, 0}}}, Calibrator::entropy);
  const Ranges ranges = load_ranges(path);
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges.at("conv \"1\"").low, -0.5);
  EXPECT_EQ(ranges.at("conv \"1\"").high, 3.25);
}

TEST(RangeFile, ReadsTensorRtCaches) {
  const auto path =
      file_with("trt.cache", "TRT-8501-EntropyCalibration2\nimages: 3c010204\r\n/a/Conv_out:0: 3f800000\n");
  EXPECT_TRUE(is_tensorrt_cache(path));
  const Ranges ranges = load_ranges(path);
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_NEAR(ranges.at("images").high, 1, 1e-4);  // an image's 1/127
  EXPECT_EQ(ranges.at("/a/Conv_out:0").low, -127);
  EXPECT_TRUE(load_ranges(file_with("none.cache", "TRT-8501-MinMaxCalibration")).empty());
  EXPECT_FALSE(is_tensorrt_cache(std::filesystem::path(testing::TempDir()) / "absent.cache"));
  for (const char* line : {"images", "images: ", "images: 3c01zz14", "images: 7f800000", "images: bf800000"})
    EXPECT_THROW(load_ranges(file_with("bad.cache", fmt::format("TRT-1\n{}\n", line))), Error) << line;
}

TEST(RangeFile, RefusesWhatIsNone) {
  EXPECT_THROW(load_ranges(file_with("a.json", "{")), Error);
  EXPECT_THROW(load_ranges(file_with("b.json", R"({"ranges": {}})")), Error);
  EXPECT_THROW(load_ranges(file_with("c.json", R"({"lathe_calibration": 2, "ranges": {}})")), Error);
  EXPECT_THROW(load_ranges(file_with("d.json", R"({"lathe_calibration": 1, "ranges": {"x": [2, 1]}})")), Error);
  EXPECT_THROW(load_ranges(file_with("e.json", R"({"lathe_calibration": 1, "ranges": {"x": [2]}})")), Error);
  EXPECT_THROW(load_ranges(std::filesystem::path(testing::TempDir()) / "absent.json"), Error);
}

}  // namespace
}  // namespace lathe::precision
